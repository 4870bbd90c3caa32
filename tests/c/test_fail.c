/* test_fail.c: the n-th allocation fails, for every n.
 *
 * Built with a variant of the library (RM_FAIL_INJECT) whose allocations come here. A scripted session that touches
 * everything runs again and again; in the n-th run the n-th allocation fails, or, in the second mode, every one
 * from the n-th on for a while. Each call must say so cleanly, the runtime must go on, and shut down; that
 * nothing leaks is for ASan to say, at the end of the program. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "check.h"

/* ------------------------------------------------------------------ the allocator ---- */

void *rm_malloc(size_t n);
void *rm_calloc(size_t n, size_t size);
bool rm_inject_fault(const char *site);

static int fail_at, fail_span, allocations, failures; /* atomic: pool threads come here, too */

static bool fail(void) {
    int i = __atomic_add_fetch(&allocations, 1, __ATOMIC_SEQ_CST);
    if (!fail_at || i < fail_at || i >= fail_at + fail_span) return false;
    __atomic_add_fetch(&failures, 1, __ATOMIC_SEQ_CST);
    return true;
}

void *rm_malloc(size_t n) { return fail() ? NULL : malloc(n); }
void *rm_calloc(size_t n, size_t size) { return fail() ? NULL : calloc(n, size); }
bool rm_inject_fault(const char *site) { return (void)site, fail(); }

/* ------------------------------------------------------------------ the session ---- */

static int errors; /* calls of the session that failed */

/* Count e if it is an error that lack of memory may bring, directly or by way of the peer. */
static bool failed(long e) {
    if (e >= 0) return false;
    switch (-e) {
    case ENOMEM:
    case EAGAIN:
    case EMFILE:
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED:
    case ECANCELED:
        errors++;
        return true;
    }
    fprintf(stderr, "\nfailure %d: not expected: %s\n", fail_at, strerror((int)-e));
    abort();
}

static ramet_chan *chan(size_t size, size_t cap) { /* one there must be in the end */
    ramet_chan *c;
    while (!(c = ramet_chan_make(size, cap))) errors++;
    return c;
}

static void until_closed(void *c) { CHECK_EQ(ramet_chan_recv(c, NULL, RAMET_FOREVER), -EPIPE); }
static void until_later(void *arg) {
    (void)arg;
    failed(ramet_sleep(2 * RAMET_MILLISECOND));
}

/* More than the run queue's first ring, and more timers than the heap begins with. */
static void goroutines(void) {
    enum { N = 600 };
    static ramet_goroutine g[2 * N];
    int n = 0;
    ramet_chan *c = chan(0, 0);
    for (int i = 0; i < N; i++) n += !failed(ramet_go(until_closed, c, &g[n]));
    for (int i = 0; i < N / 4; i++) n += !failed(ramet_go(until_later, NULL, &g[n]));
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(ramet_chan_close(c), 0);
    for (int i = 0; i < n; i++) check_join(g[i]);
    CHECK_EQ(ramet_chan_free(c), 0);
}

static void send_int(void *c) { CHECK_EQ(ramet_chan_send(c, &(int){7}, RAMET_FOREVER), 0); }

static void channels(void) {
    ramet_chan *c = chan(sizeof(int), 1);
    int v = 0;
    CHECK_EQ(ramet_chan_send(c, &(int){5}, RAMET_FOREVER), 0);
    int e = ramet_chan_send(c, &v, ramet_deadline(RAMET_MILLISECOND)); /* needs a timer */
    CHECK(e == -ETIMEDOUT || failed(e));
    CHECK_EQ(ramet_chan_len(c), 1); /* whichever: it has not been sent */
    CHECK_EQ(ramet_chan_recv(c, &v, RAMET_FOREVER), 0);
    CHECK_EQ(v, 5);
    if (!failed(ramet_go(send_int, c, NULL))) {
        CHECK_EQ(ramet_chan_recv(c, &v, RAMET_FOREVER), 0);
        CHECK_EQ(v, 7);
    }
    CHECK_EQ(ramet_chan_free(c), 0);
}

static void select_of_many(void) {
    enum { N = 20 };
    ramet_chan *c[N];
    ramet_case k[N];
    int v[N];
    for (int i = 0; i < N; i++) {
        c[i] = chan(sizeof(int), 0);
        k[i] = (ramet_case){c[i], &v[i], RAMET_RECV, false};
    }
    if (!failed(ramet_go(send_int, c[13], NULL))) {
        int e;
        while ((e = ramet_select(k, N, RAMET_FOREVER)) != 13) CHECK(failed(e));
        CHECK_EQ(v[13], 7);
    }
    int e = ramet_select(k, N, ramet_deadline(RAMET_MILLISECOND));
    CHECK(e == -ETIMEDOUT || failed(e));
    for (int i = 0; i < N; i++) CHECK_EQ(ramet_chan_free(c[i]), 0);
}

static int fired;
static void fire(void *arg) {
    (void)arg;
    fired++;
}

static void timers(void) {
    ramet_timer *t[100] = {NULL};
    int started = 0;
    fired = 0;
    for (int i = 0; i < 100; i++) {
        if (!(t[i] = ramet_timer_new(fire, NULL))) {
            errors++;
            continue;
        }
        if (!failed(ramet_timer_start(t[i], ramet_now() + i, 0))) started++;
    }
    int64_t until = ramet_deadline(100 * RAMET_MILLISECOND);
    while (fired < started && ramet_now() < until) ramet_sleep(RAMET_MILLISECOND);
    CHECK_EQ(fired, started);
    for (int i = 0; i < 100; i++) ramet_timer_free(t[i]);
    ramet_ticker *ticker = ramet_ticker_new(RAMET_MILLISECOND);
    if (!ticker) errors++;
    else failed(ramet_ticker_reset(ticker, RAMET_SECOND));
    CHECK_EQ(ramet_ticker_free(ticker), 0);
}

static void scopes(void) {
    ramet_scope s, in;
    if (failed(ramet_scope_enter(&s, ramet_deadline(RAMET_MILLISECOND)))) return;
    CHECK_EQ(ramet_scope_enter_shield(&in), 0);
    failed(ramet_scope_set_deadline(&in, ramet_deadline(100 * RAMET_SECOND)));
    CHECK_EQ(ramet_scope_leave(&in), 0);
    CHECK_EQ(ramet_chan_recv(NULL, NULL, RAMET_FOREVER), -ECANCELED);
    CHECK_EQ(ramet_scope_leave(&s), 1);
}

static void *add_one(void *arg) { return (char *)arg + 1; }
static void blocking(void) {
    for (int i = 0; i < 3; i++) {
        void *r = NULL;
        if (!failed(ramet_blocking(add_one, &errors, &r))) CHECK(r == (char *)&errors + 1);
    }
}

/* Close by a reset: hundreds of sessions would leave as many ports in TIME_WAIT. */
static void close_hard(ramet_conn *c) {
    struct linger now = {1, 0};
    setsockopt(ramet_conn_fd(c), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    CHECK_EQ(ramet_close(c), 0);
}

static ramet_conn *listener;
static void serve(void *arg) {
    ramet_conn *c;
    char buf[5];
    (void)arg;
    if (!failed(ramet_accept(listener, RAMET_FOREVER, &c))) {
        long n = ramet_read(c, buf, 5, RAMET_FOREVER);
        if (!failed(n) && n == 5 && !failed(ramet_write(c, buf, 5, RAMET_FOREVER)))
            ramet_read(c, buf, 1, RAMET_FOREVER); /* the client closes first */
        close_hard(c);
    }
    CHECK_EQ(ramet_close(listener), 0); /* who is not accepted is reset */
    listener = NULL;
}

static void sockets(const char *host) {
    ramet_goroutine g;
    ramet_conn *c;
    char address[100], buf[5];
    struct sockaddr_in sa;
    socklen_t len = sizeof sa;
    snprintf(address, sizeof address, "%s:0", host);
    if (failed(ramet_listen("tcp4", address, 0, &listener))) return;
    CHECK_EQ(getsockname(ramet_conn_fd(listener), (struct sockaddr *)&sa, &len), 0);
    if (failed(ramet_go(serve, NULL, &g))) {
        CHECK_EQ(ramet_close(listener), 0);
        return;
    }
    snprintf(address, sizeof address, "%s:%d", host, ntohs(sa.sin_port));
    if (failed(ramet_dial("tcp4", address, RAMET_FOREVER, &c))) {
        ramet_cancel(g);
        check_join(g);
        if (listener) CHECK_EQ(ramet_close(listener), 0); /* it had not begun */
        return;
    }
    if (!failed(ramet_write(c, "hello", 5, RAMET_FOREVER))) {
        long n = ramet_read(c, buf, 5, RAMET_FOREVER);
        if (!failed(n) && n == 5) CHECK(!memcmp(buf, "hello", 5));
    }
    close_hard(c);
    check_join(g);
}

static int pipe_fds[2];
static void feed(void *arg) {
    (void)arg;
    CHECK_EQ(write(pipe_fds[1], "x", 1), 1);
}

static void descriptors(void) {
    CHECK_EQ(pipe(pipe_fds), 0);
    if (!failed(ramet_go(feed, NULL, NULL))) {
        int e = ramet_fd_wait(pipe_fds[0], RAMET_READABLE, RAMET_FOREVER);
        CHECK(failed(e) || e == RAMET_READABLE);
    }
    CHECK_EQ(ramet_yield(), 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void *foreign_main(void *c) { /* -EPERM: no memory to attach */
    int v = 3, e;
    while ((e = ramet_chan_send(c, &v, RAMET_FOREVER)) == -EPERM || e == -ENOMEM) errors++;
    CHECK_EQ(e, 0);
    return NULL;
}

static void foreign(void) {
    ramet_chan *c = chan(sizeof(int), 0);
    pthread_t t;
    int v = 0;
    CHECK_EQ(pthread_create(&t, NULL, foreign_main, c), 0);
    CHECK_EQ(ramet_chan_recv(c, &v, RAMET_FOREVER), 0);
    CHECK_EQ(v, 3);
    while (ramet_yield() == 0 && pthread_tryjoin_np(t, NULL)) usleep(100);
    CHECK_EQ(ramet_chan_free(c), 0);
}

static void leave_one(void *arg) {
    (void)arg;
    ramet_chan_recv(NULL, NULL, RAMET_FOREVER);
}

static int session(void *arg) {
    (void)arg;
    goroutines();
    channels();
    select_of_many();
    timers();
    scopes();
    blocking();
    sockets("127.0.0.1");
    sockets("localhost");
    descriptors();
    if (fail_span == 1) foreign();
    failed(ramet_go(leave_one, NULL, NULL));
    ramet_stats st;
    CHECK_EQ(ramet_get_stats(&st), 0);
    CHECK(st.goroutines <= 2);
    CHECK_EQ(st.timers, 0);
    return 0;
}

/* ------------------------------------------------------------------ the loop ---- */

static int lowest_fd(void) {
    int fd = open("/dev/null", O_RDONLY);
    close(fd);
    return fd;
}

static int run(ramet_mode mode, int at, int span) {
    int fd = lowest_fd();
    ramet_options o = {.mode = mode, .stack_size = 65536};
    fail_at = at;
    fail_span = span;
    allocations = failures = errors = 0;
    int e = ramet_run(session, NULL, &o);
    CHECK(e == 0 || (e == -ENOMEM && failures));
    CHECK_EQ(lowest_fd(), fd);
    return e;
}

static void every(int span) {
    for (int mode = 0; mode < 2; mode++) {
        int step = check_many(1, 7), n = 1;
        run((ramet_mode)mode, 0, 1);
        run((ramet_mode)mode, 0, 1);
        CHECK_EQ(errors, 0);
        int all = allocations;
        CHECK(all > 30);
        for (; n <= all + 20; n += step) {
            run((ramet_mode)mode, n, span);
            if (!failures) break; /* sessions do not all allocate the same: threads */
        }
        CHECK(n > all / 2);
        run((ramet_mode)mode, 0, 1); /* nothing is left of it */
        CHECK_EQ(errors, 0);
    }
}

static void every_single_one(void) { every(1); }
static void several_in_a_row(void) { every(10); }

static const check_test tests[] = {PLAIN(every_single_one), PLAIN(several_in_a_row), {0}};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
