/* The poller: the user's descriptors, ours, wake-ups, signals, fork. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "net.h"
#include "rt.h"

#define MS RAMET_MILLISECOND
#define BOTH (RAMET_READABLE | RAMET_WRITABLE)

static rm_rt *the_runtime(void) { return rm_g_self()->p->rt; }
static uint32_t waiters(void) { return rm_netpoll_waiters(&the_runtime()->p); }

static void pair(int fd[2]) { CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0); }
static void put(int fd) { CHECK_EQ(write(fd, "x", 1), 1); }
static void get(int fd) {
    char c;
    CHECK_EQ(read(fd, &c, 1), 1);
}
static void close_pair(int fd[2]) {
    close(fd[0]);
    close(fd[1]);
}

typedef struct waiter { /* a goroutine in ramet_fd_wait */
    int fd, events, got;
    int64_t deadline;
    ramet_goroutine g;
} waiter;

static void wait_for(void *arg) {
    waiter *w = arg;
    w->got = ramet_fd_wait(w->fd, w->events, w->deadline);
}

static void start(waiter *w, int fd, int events) {
    *w = (waiter){.fd = fd, .events = events, .got = 99, .deadline = RAMET_FOREVER};
    CHECK_EQ(ramet_go(wait_for, w, &w->g), 0);
    ramet_yield();
}

static int join(waiter *w) {
    CHECK_EQ(ramet_join(w->g, ramet_deadline(5 * RAMET_SECOND)), 0);
    return w->got;
}

/* ---- the user's descriptors ---- */

static void ready_at_once(void) {
    int fd[2];
    pair(fd);
    CHECK_EQ(ramet_fd_wait(fd[0], RAMET_WRITABLE, RAMET_FOREVER), RAMET_WRITABLE);
    CHECK_EQ(ramet_fd_wait(fd[0], BOTH, RAMET_FOREVER), RAMET_WRITABLE);
    CHECK_EQ(ramet_fd_wait(fd[0], RAMET_READABLE, RAMET_POLL), -EAGAIN);
    put(fd[1]);
    CHECK_EQ(ramet_fd_wait(fd[0], BOTH, RAMET_POLL), BOTH);
    int file = open("/etc/passwd", O_RDONLY);
    CHECK_EQ(ramet_fd_wait(file, RAMET_READABLE, RAMET_FOREVER), RAMET_READABLE);
    close(file);
    close_pair(fd);
}

static void errors_at_once(void) {
    CHECK_EQ(ramet_fd_wait(-1, RAMET_READABLE, RAMET_FOREVER), -EBADF);
    CHECK_EQ(ramet_fd_wait(-1, RAMET_READABLE, RAMET_POLL), -EBADF);
    CHECK_EQ(ramet_fd_wait(9999, RAMET_READABLE, RAMET_FOREVER), -EBADF);
    CHECK_EQ(ramet_fd_wait(0, 0, RAMET_FOREVER), -EINVAL);
    CHECK_EQ(ramet_fd_wait(0, 64, RAMET_FOREVER), -EINVAL);
}

static void wait_and_deadline(void) {
    int fd[2];
    pair(fd);
    waiter w;
    start(&w, fd[0], RAMET_READABLE);
    CHECK_EQ(waiters(), 1);
    put(fd[1]);
    CHECK_EQ(join(&w), RAMET_READABLE);
    CHECK_EQ(waiters(), 0);
    get(fd[0]);
    int64_t began = ramet_now();
    CHECK_EQ(ramet_fd_wait(fd[0], RAMET_READABLE, ramet_deadline(20 * MS)), -ETIMEDOUT);
    CHECK(ramet_now() - began >= 20 * MS);
    CHECK_EQ(ramet_fd_wait(fd[0], RAMET_READABLE, ramet_now() - 1), -ETIMEDOUT);
    CHECK_EQ(waiters(), 0);
    close_pair(fd);
}

static void hang_up_is_readable(void) {
    int fd[2];
    CHECK_EQ(pipe(fd), 0);
    waiter w;
    start(&w, fd[0], RAMET_READABLE);
    close(fd[1]);
    CHECK_EQ(join(&w), RAMET_READABLE);
    close(fd[0]);
    CHECK_EQ(pipe(fd), 0);
    close(fd[0]);
    CHECK_EQ(ramet_fd_wait(fd[1], RAMET_WRITABLE, RAMET_FOREVER), RAMET_WRITABLE);
    close(fd[1]);
}

static void fill(int fd) {
    static char junk[65536];
    while (write(fd, junk, sizeof junk) > 0);
    CHECK_EQ(errno, EAGAIN);
}
static void drain(int fd) {
    static char junk[65536];
    while (read(fd, junk, sizeof junk) > 0);
}

static void several_on_one(void) { /* readers and writers of one number share a registration */
    int fd[2];
    pair(fd);
    fill(fd[0]);
    waiter r1, r2, w;
    start(&r1, fd[0], RAMET_READABLE);
    start(&w, fd[0], RAMET_WRITABLE);
    start(&r2, fd[0], RAMET_READABLE);
    CHECK_EQ(waiters(), 3);
    drain(fd[1]);
    CHECK_EQ(join(&w), RAMET_WRITABLE);
    CHECK_EQ(waiters(), 2);
    put(fd[1]);
    CHECK_EQ(join(&r1), RAMET_READABLE);
    CHECK_EQ(join(&r2), RAMET_READABLE);
    close_pair(fd);
}

static void cancel_a_wait(void) {
    int fd[2];
    pair(fd);
    waiter w;
    start(&w, fd[0], RAMET_READABLE);
    CHECK_EQ(ramet_cancel(w.g), 0);
    CHECK_EQ(join(&w), -ECANCELED);
    CHECK_EQ(waiters(), 0);
    put(fd[1]); /* the registration is still armed: nobody minds */
    ramet_sleep(2 * MS);
    get(fd[0]);
    start(&w, fd[0], RAMET_READABLE);
    put(fd[1]);
    CHECK_EQ(join(&w), RAMET_READABLE);
    close_pair(fd);
}

static void closed_while_waited_for(void) {
    int fd[2];
    pair(fd);
    waiter w;
    start(&w, fd[0], RAMET_READABLE);
    ramet_sleep(MS);
    close(fd[0]);
    int64_t began = ramet_now();
    CHECK_EQ(join(&w), -EBADF); /* found before a sleep, within a second */
    CHECK(ramet_now() - began < 1500 * MS);
    CHECK_EQ(waiters(), 0);
    close(fd[1]);
}

static void closing_told(void) {
    int fd[2];
    pair(fd);
    waiter w;
    start(&w, fd[0], RAMET_READABLE);
    rm_fd_closing(the_runtime(), fd[0]);
    close(fd[0]);
    CHECK_EQ(join(&w), -EBADF);
    rm_fd_closing(the_runtime(), fd[0]);
    close(fd[1]);
}

static void number_used_again(void) {
    int a[2], b[2];
    pair(a);
    pair(b);
    waiter old, new;
    start(&old, a[0], RAMET_READABLE);
    CHECK_EQ(dup2(b[0], a[0]), a[0]); /* a's file is gone, the number is b's file now */
    start(&new, a[0], RAMET_READABLE);
    CHECK_EQ(join(&old), -EBADF);
    put(b[1]);
    CHECK_EQ(join(&new), RAMET_READABLE);
    close_pair(a);
    close_pair(b);
}

static void number_used_again_file_lives(void) { /* the old file's event must not reach the new one's waiter */
    int a[2], b[2], keep;
    pair(a);
    pair(b);
    waiter old, new;
    start(&old, a[0], RAMET_READABLE);
    keep = dup(a[0]);
    CHECK_EQ(dup2(b[0], a[0]), a[0]);
    start(&new, a[0], RAMET_READABLE);
    CHECK_EQ(join(&old), -EBADF);
    put(a[1]); /* keep is readable now; its registration bears the old tag */
    ramet_sleep(5 * MS);
    CHECK_EQ(new.got, 99);
    put(b[1]);
    CHECK_EQ(join(&new), RAMET_READABLE);
    /* and back again: its registration is still in the poller */
    CHECK_EQ(dup2(keep, a[0]), a[0]);
    get(a[0]);
    start(&new, a[0], RAMET_READABLE);
    put(a[1]);
    CHECK_EQ(join(&new), RAMET_READABLE);
    close(keep);
    close_pair(a);
    close_pair(b);
}

/* ---- watches ---- */

static int fired, fired_events;
static void on_fire(rm_watch *w, int events) {
    fired++;
    fired_events = events;
}

static rm_watch *other;
static void on_fire_stop_other(rm_watch *w, int events) {
    fired++;
    rm_watch_stop(the_runtime(), other);
}

static void watches(void) {
    int fd[2];
    rm_rt *rt = the_runtime();
    pair(fd);
    fired = 0;
    rm_watch w = {.fd = fd[0], .events = RAMET_READABLE, .fn = on_fire}, v = w;
    CHECK_EQ(rm_watch_start(rt, &w), 0);
    CHECK_EQ(rm_watch_start(rt, &v), 0);
    CHECK(w.armed && waiters() == 2);
    rm_watch_stop(rt, &v);
    put(fd[1]);
    ramet_sleep(2 * MS);
    CHECK_EQ(fired, 1);
    CHECK_EQ(fired_events, RAMET_READABLE);
    CHECK(!w.armed && waiters() == 0);
    CHECK_EQ(rm_watch_start(rt, &w), RAMET_READABLE);
    get(fd[0]);
    rm_watch_stop(rt, &w);
    /* a callback that stops another one of the same event */
    fired = 0;
    w.fn = v.fn = on_fire_stop_other;
    CHECK_EQ(rm_watch_start(rt, &w), 0);
    CHECK_EQ(rm_watch_start(rt, &v), 0);
    other = &v;
    put(fd[1]);
    ramet_sleep(2 * MS);
    CHECK_EQ(fired, 1);
    CHECK_EQ(waiters(), 0);
    close_pair(fd);
}

/* ---- descriptors of ours ---- */

static rm_pd *the_pd;
static int pd_result;
static void pd_reader(void *arg) { pd_result = rm_pd_wait(the_pd, rm_g_self(), RM_NP_READ, *(int64_t *)arg); }

static ramet_goroutine pd_start(int64_t deadline) {
    static int64_t d;
    ramet_goroutine g;
    d = deadline;
    pd_result = 99;
    CHECK_EQ(ramet_go(pd_reader, &d, &g), 0);
    ramet_yield();
    return g;
}

static void pd_edges(void) {
    int fd[2];
    pair(fd);
    CHECK_EQ(rm_pd_open(the_runtime(), fd[0], &the_pd), 0);
    CHECK_EQ(rm_netpoll_fds(&the_runtime()->p), 1);
    ramet_goroutine g = pd_start(RAMET_FOREVER);
    ramet_sleep(2 * MS); /* writable at once: no business of the reader */
    CHECK_EQ(pd_result, 99);
    CHECK(the_pd->ready[RM_NP_WRITE] && !the_pd->ready[RM_NP_READ]);
    put(fd[1]);
    ramet_join(g, RAMET_FOREVER);
    CHECK_EQ(pd_result, 0);
    CHECK(the_pd->ready[RM_NP_READ] && !the_pd->hup);
    the_pd->ready[RM_NP_READ] = false;
    get(fd[0]);
    ramet_join(pd_start(ramet_deadline(5 * MS)), RAMET_FOREVER);
    CHECK_EQ(pd_result, -ETIMEDOUT);
    ramet_join(pd_start(RAMET_POLL), RAMET_FOREVER);
    CHECK_EQ(pd_result, -EAGAIN);
    /* sticky deadline, moved while it is waited for */
    rm_pd_set_deadline(the_pd, RM_NP_READ, ramet_deadline(RAMET_SECOND));
    g = pd_start(RAMET_FOREVER);
    rm_pd_set_deadline(the_pd, RM_NP_READ, ramet_deadline(5 * MS));
    ramet_join(g, RAMET_FOREVER);
    CHECK_EQ(pd_result, -ETIMEDOUT);
    rm_pd_set_deadline(the_pd, RM_NP_READ, RAMET_FOREVER);
    g = pd_start(RAMET_FOREVER);
    close(fd[1]);
    ramet_join(g, RAMET_FOREVER);
    CHECK_EQ(pd_result, 0);
    CHECK(the_pd->hup);
    rm_pd_close(the_pd);
    CHECK_EQ(rm_netpoll_fds(&the_runtime()->p), 0);
    close(fd[0]);
}

static void pd_close_wakes(void) {
    int fd[2];
    pair(fd);
    CHECK_EQ(rm_pd_open(the_runtime(), fd[0], &the_pd), 0);
    rm_pd *again;
    CHECK_EQ(rm_pd_open(the_runtime(), fd[0], &again), -EEXIST);
    ramet_goroutine g = pd_start(RAMET_FOREVER);
    rm_pd *old = the_pd;
    uint16_t seq = old->seq;
    rm_pd_close(the_pd);
    CHECK(old->users == 1 && old->rt); /* not reused while the waiter has not left */
    ramet_join(g, RAMET_FOREVER);
    CHECK_EQ(pd_result, -ECONNABORTED);
    CHECK(!old->rt && old->seq != seq);
    CHECK_EQ(waiters(), 0);
    int file = open("/etc/passwd", O_RDONLY);
    CHECK_EQ(rm_pd_open(the_runtime(), file, &the_pd), -EPERM);
    close(file);
    close_pair(fd);
}

/* An event that was harvested for a record that has been closed and used again since. */
static void close_other(rm_watch *w, int events) {
    rm_pd_close(the_pd);
    CHECK_EQ(rm_pd_open(the_runtime(), (int)(intptr_t)other, &the_pd), 0);
}

static void stale_event_is_dropped(void) {
    int a[2], b[2], c[2];
    pair(a), pair(b), pair(c);
    CHECK_EQ(rm_pd_open(the_runtime(), b[0], &the_pd), 0);
    ramet_sleep(MS); /* harvest its first edge */
    other = (rm_watch *)(intptr_t)c[0];
    rm_watch w = {.fd = a[0], .events = RAMET_READABLE, .fn = close_other};
    CHECK_EQ(rm_watch_start(the_runtime(), &w), 0);
    put(a[1]); /* comes first in the same harvest, and closes b's record */
    put(b[1]);
    ramet_goroutine g = pd_start(ramet_deadline(RAMET_SECOND)); /* somebody waits, so there is a poll */
    ramet_sleep(2 * MS);
    CHECK(!the_pd->ready[RM_NP_READ]);
    ramet_join(g, RAMET_FOREVER);
    rm_pd_close(the_pd);
    close_pair(a), close_pair(b), close_pair(c);
}

static void both_ours_and_the_users(void) {
    int fd[2];
    waiter w;
    pair(fd);
    /* first ours, then watched */
    CHECK_EQ(rm_pd_open(the_runtime(), fd[0], &the_pd), 0);
    ramet_goroutine g = pd_start(RAMET_FOREVER);
    start(&w, fd[0], RAMET_READABLE);
    put(fd[1]);
    CHECK_EQ(join(&w), RAMET_READABLE);
    ramet_join(g, RAMET_FOREVER);
    CHECK_EQ(pd_result, 0);
    get(fd[0]);
    the_pd->ready[RM_NP_READ] = false;
    start(&w, fd[0], RAMET_READABLE);
    rm_pd_close(the_pd);
    CHECK_EQ(join(&w), -EBADF);
    /* first watched, then ours */
    start(&w, fd[0], RAMET_READABLE);
    CHECK_EQ(rm_pd_open(the_runtime(), fd[0], &the_pd), 0);
    g = pd_start(RAMET_FOREVER);
    put(fd[1]);
    CHECK_EQ(join(&w), RAMET_READABLE);
    ramet_join(g, RAMET_FOREVER);
    CHECK_EQ(pd_result, 0);
    rm_pd_close(the_pd);
    get(fd[0]);
    start(&w, fd[0], RAMET_READABLE); /* the user's alone again */
    put(fd[1]);
    CHECK_EQ(join(&w), RAMET_READABLE);
    close_pair(fd);
}

/* ---- wake-ups ---- */

#define POSTS 20000
typedef struct poster {
    rm_post post;
    int *count;
    rm_g *main;
} poster;

static void posted(rm_p *p, rm_post *post) {
    poster *me = rm_container_of(post, poster, post);
    int n = rm_load(me->count) + 1;
    rm_store_rel(me->count, n);
    if (n == 3 * POSTS && rm_claim(me->main)) rm_ready(me->main);
    free(me);
}

typedef struct post_thread {
    rm_g *main;
    int *count;
    bool lost;
} post_thread;

static void post_one(post_thread *t) {
    poster *p = malloc(sizeof *p);
    *p = (poster){{NULL, posted}, t->count, t->main};
    rm_post_to(&t->main->p->rt->p, &p->post);
}

static void *post_many(void *arg) {
    post_thread *t = arg;
    for (int i = 0; i < POSTS; i++) {
        post_one(t);
        if (i % 100 == 0) usleep((useconds_t)(i % 3 * 50)); /* so that the proc falls asleep at every distance */
    }
    return NULL;
}

static void *post_in_step(void *arg) { /* each after the one before was seen */
    post_thread *t = arg;
    for (int i = 1; i <= 3 * POSTS && !t->lost; i++) {
        post_one(t);
        for (int64_t began = rm_now(); rm_load_acq(t->count) < i && !t->lost;)
            t->lost = rm_now() - began > 3 * RAMET_SECOND;
        for (int spin = i % 97 * (i % 5); spin; spin--) rm_pause();
    }
    return NULL;
}

static void wait_for_posts(void *(*fn)(void *), int threads) {
    pthread_t t[3];
    int count = 0;
    post_thread arg = {rm_g_self(), &count, false};
    rm_wait_open(arg.main);
    rm_store(&the_runtime()->external, 1);
    for (int i = 0; i < threads; i++) CHECK_EQ(pthread_create(&t[i], NULL, fn, &arg), 0);
    /* nothing but the posts will wake us: no timer, no deadline */
    CHECK_EQ(rm_park(arg.main, RM_R_SYSTEM, NULL, RM_FOREVER, NULL, NULL), 0);
    rm_store(&the_runtime()->external, 0);
    for (int i = 0; i < threads; i++) pthread_join(t[i], NULL);
    CHECK(!arg.lost);
    CHECK_EQ(count, 3 * POSTS);
}

static void no_wake_up_is_lost(void) { wait_for_posts(post_many, 3); }
static void no_wake_up_is_lost_in_step(void) { wait_for_posts(post_in_step, 1); }

/* ---- signals ---- */

static void on_alarm(int sig) {}

static void signals_do_not_disturb(void) {
    struct sigaction old, sa = {.sa_handler = on_alarm}; /* no SA_RESTART */
    sigaction(SIGUSR1, &sa, &old);
    timer_t t;
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &ev, &t), 0);
    struct itimerspec every = {{0, 2000000}, {0, 2000000}};
    timer_settime(t, 0, &every, NULL);
    int64_t began = ramet_now();
    CHECK_EQ(ramet_sleep(60 * MS), 0);
    CHECK(ramet_now() - began >= 60 * MS);
    int fd[2];
    pair(fd);
    CHECK_EQ(ramet_fd_wait(fd[0], RAMET_READABLE, ramet_deadline(30 * MS)), -ETIMEDOUT);
    close_pair(fd);
    timer_delete(t);
    sigaction(SIGUSR1, &old, NULL);
}

static int tripped;
static int handled;
static void on_usr2(int sig) { rm_store(&tripped, 1); }

static bool signal_hook(rm_rt *rt) { /* as an embedder: a flag that the handler sets */
    if (!rm_load(&tripped)) return false;
    rm_store(&tripped, 0);
    rm_store(&handled, handled + 1);
    return false;
}

static void *send_signals(void *arg) {
    pthread_t main = *(pthread_t *)arg;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    for (int i = 0; i < 60; i++) {
        int want = rm_load(&handled) + 1;
        int64_t began = rm_now();
        pthread_kill(main, SIGUSR2);
        while (rm_load(&handled) < want) {
            if (rm_now() - began > 3 * RAMET_SECOND) return (void *)1; /* slept over */
            usleep(20);
        }
        usleep((useconds_t)(i * 331 % 9000));
    }
    return NULL;
}

static int signal_fd[2];
static void signal_waiter(void *arg) { CHECK_EQ(ramet_fd_wait(signal_fd[0], RAMET_READABLE, RAMET_FOREVER), 1); }

static void *signals_then_wake(void *arg) {
    void *failed = send_signals(arg);
    put(signal_fd[1]);
    return failed;
}

static void no_signal_is_slept_over(void) {
    struct sigaction old, sa = {.sa_handler = on_usr2, .sa_flags = SA_RESTART};
    sigaction(SIGUSR2, &sa, &old);
    pthread_t t, self = pthread_self();
    void *failed;
    tripped = handled = 0;
    pair(signal_fd);
    ramet_goroutine g;
    CHECK_EQ(ramet_go(signal_waiter, NULL, &g), 0);
    the_runtime()->hooks.signals = signal_hook;
    CHECK_EQ(pthread_create(&t, NULL, signals_then_wake, &self), 0);
    CHECK_EQ(ramet_join(g, RAMET_FOREVER), 0); /* idle without a deadline all the while */
    pthread_join(t, &failed);
    the_runtime()->hooks.signals = NULL;
    CHECK(!failed);
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    CHECK(!sigismember(&now, SIGUSR2)); /* the mask is back */
    close_pair(signal_fd);
    sigaction(SIGUSR2, &old, NULL);
}

/* ---- fork ---- */

static rm_conn *fork_conn;
static ssize_t fork_got;
static void fork_reader(void *arg) {
    char buf[8];
    fork_got = rm_conn_read(fork_conn, rm_g_self(), buf, sizeof buf, RAMET_FOREVER);
}

static void fork_in_a_goroutine(void) {
    int fd[2], status;
    pair(fd);
    CHECK_EQ(rm_conn_from_fd(the_runtime(), fd[0], false, &fork_conn), 0);
    ramet_goroutine g;
    ramet_go(fork_reader, NULL, &g);
    ramet_sleep(2 * MS); /* it waits, and has its turn */
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) { /* the child: alone, with the connection still open and usable */
        CHECK_EQ(rm_rt_forked(the_runtime()), 0);
        alarm(10);
        char buf[8];
        CHECK_EQ(rm_conn_read(fork_conn, rm_g_self(), buf, 8, ramet_deadline(10 * MS)), -ETIMEDOUT);
        put(fd[1]); /* may be read here, or by the parent's goroutine, which is told to expect it */
        int mine[2];
        pair(mine);
        waiter w;
        start(&w, mine[0], RAMET_READABLE);
        put(mine[1]);
        CHECK_EQ(join(&w), RAMET_READABLE);
        rm_conn_close(fork_conn); /* must not take it out of the parent's poller */
        _exit(0);
    }
    CHECK_EQ(ramet_join(g, ramet_deadline(5 * RAMET_SECOND)), 0);
    CHECK_EQ(fork_got, 1);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ramet_go(fork_reader, NULL, &g); /* still registered with us */
    ramet_sleep(MS);
    put(fd[1]);
    CHECK_EQ(ramet_join(g, ramet_deadline(5 * RAMET_SECOND)), 0);
    CHECK_EQ(fork_got, 1);
    rm_conn_unref(fork_conn);
    close(fd[1]);
}

/* ---- deadlock ---- */

static int waits_for_fd(void *arg) {
    int fd[2];
    pair(fd);
    waiter w;
    start(&w, fd[0], RAMET_READABLE); /* may be woken by anybody: no deadlock */
    int e = ramet_join(w.g, ramet_deadline(50 * MS));
    CHECK_EQ(e, -ETIMEDOUT);
    ramet_cancel(w.g);
    CHECK_EQ(join(&w), -ECANCELED);
    close_pair(fd);
    ramet_chan *c = ramet_chan_make(1, 0);
    e = ramet_chan_recv(c, NULL, RAMET_FOREVER); /* the watch is gone: this is one */
    ramet_chan_free(c);
    return e;
}

static void deadlock_accounting(void) {
#if defined(RM_TSAN)
    return; /* its own thread might bring a wake-up, for all the runtime knows */
#endif
    for (int mode = 0; mode < 2; mode++)
        CHECK_EQ(ramet_run(waits_for_fd, NULL, &(ramet_options){.mode = (ramet_mode)mode, .quiet = true}), -EDEADLK);
}

static const check_test tests[] = {IN_RUNTIME(ready_at_once),
                                   IN_RUNTIME(errors_at_once),
                                   IN_RUNTIME(wait_and_deadline),
                                   IN_RUNTIME(hang_up_is_readable),
                                   IN_RUNTIME(several_on_one),
                                   IN_RUNTIME(cancel_a_wait),
                                   IN_RUNTIME(closed_while_waited_for),
                                   IN_RUNTIME(closing_told),
                                   IN_RUNTIME(number_used_again),
                                   IN_RUNTIME(number_used_again_file_lives),
                                   IN_RUNTIME(watches),
                                   IN_RUNTIME(pd_edges),
                                   IN_RUNTIME(pd_close_wakes),
                                   IN_RUNTIME(stale_event_is_dropped),
                                   IN_RUNTIME(both_ours_and_the_users),
                                   IN_RUNTIME(no_wake_up_is_lost),
                                   IN_RUNTIME(no_wake_up_is_lost_in_step),
                                   IN_RUNTIME(signals_do_not_disturb),
                                   IN_RUNTIME(no_signal_is_slept_over),
                                   IN_RUNTIME(fork_in_a_goroutine),
                                   PLAIN(deadlock_accounting),
                                   {0}};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
