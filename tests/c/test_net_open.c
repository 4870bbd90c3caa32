/* dial and listen: addresses, names, refusals, deadlines; a socket that is connected later. */
#include "net_check.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>

static void bad_addresses(void) {
    static const char *const bad[] = {"",
                                      "127.0.0.1",
                                      "127.0.0.1:99999",
                                      "::1:80",
                                      "[::1]",
                                      "[::1:80",
                                      "[::1]80",
                                      "a]b:80",
                                      "1.2.3.4:80:80",
                                      "[1%]:80",
                                      "[::1%nonexistent0]:80",
                                      "host:-1"};
    ramet_conn *c;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK_EQ(ramet_dial("tcp", bad[i], SOON, &c), -EINVAL);
    CHECK_EQ(ramet_dial("udp", "127.0.0.1:80", SOON, &c), -EINVAL);
    CHECK_EQ(ramet_dial(NULL, "127.0.0.1:80", SOON, &c), -EINVAL);
    CHECK_EQ(ramet_dial("tcp", NULL, SOON, &c), -EINVAL);
    CHECK_EQ(ramet_dial("tcp4", "[::1]:80", SOON, &c), -EINVAL);
    CHECK_EQ(ramet_dial("tcp6", "127.0.0.1:80", SOON, &c), -EINVAL);
    CHECK_EQ(ramet_dial("unix", "", SOON, &c), -EINVAL);
    char path[200];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = 0;
    CHECK_EQ(ramet_dial("unix", path, SOON, &c), -EINVAL);
    CHECK_EQ(ramet_dial("unix", "/nonexistent/socket", SOON, &c), -ENOENT);
}

static void try_out(const char *network, const char *at, const char *dial_network, const char *dial_format) {
    ramet_conn *l = listen_on(network, at), *a, *b;
    struct sockaddr_in6 sa;
    socklen_t len = sizeof sa;
    char where[128], buf[8];
    CHECK_EQ(rm_conn_local((rm_conn *)l, (struct sockaddr *)&sa, &len), 0);
    snprintf(where, sizeof where, dial_format, ntohs(sa.sin6_port)); /* at the same place in sockaddr_in */
    CHECK_EQ(ramet_dial(dial_network, where, SOON, &a), 0);
    CHECK_EQ(ramet_accept(l, SOON, &b), 0);
    CHECK_EQ(ramet_write(a, "hello", 5, SOON), 5);
    CHECK_EQ(ramet_read(b, buf, sizeof buf, SOON), 5);
    int on = 0;
    len = sizeof on;
    if (strcmp(network, "unix")) {
        CHECK_EQ(getsockopt(ramet_conn_fd(a), IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
        CHECK(on);
        CHECK_EQ(getsockopt(ramet_conn_fd(b), IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
        CHECK(on);
    }
    CHECK(fcntl(ramet_conn_fd(a), F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(ramet_conn_fd(b), F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(ramet_conn_fd(b), F_GETFL) & O_NONBLOCK);
    ramet_close(a), ramet_close(b), ramet_close(l);
}

static void good_addresses(void) {
    try_out("tcp", "127.0.0.1:0", "tcp", "127.0.0.1:%d");
    try_out("tcp", ":0", "tcp4", "127.0.0.1:%d"); /* all interfaces, both families */
    try_out("tcp", ":0", "tcp", ":%d");
    try_out("tcp4", ":0", "tcp", ":%d");
    int v6 = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (v6 >= 0 && !bind(v6, (struct sockaddr *)&sa, sizeof sa)) {
        try_out("tcp", "[::1]:0", "tcp", "[::1]:%d");
        try_out("tcp6", ":0", "tcp6", ":%d");
        try_out("tcp", ":0", "tcp6", "[::1]:%d");
        try_out("tcp", "[::1%lo]:0", "tcp", "[::1%%1]:%d");
    }
    if (v6 >= 0) close(v6);
    try_out("tcp", "localhost:0", "tcp", "localhost:%d"); /* by way of the pool */
    char path[64], abstract[64];
    snprintf(path, sizeof path, "/tmp/ramet-test-%d.sock", (int)getpid());
    snprintf(abstract, sizeof abstract, "@ramet-test-%d", (int)getpid());
    unlink(path);
    try_out("unix", path, "unix", path);
    CHECK(access(path, F_OK)); /* closing the listener took it away */
    try_out("unix", abstract, "unix", abstract);
}

static void names_and_refusals(void) {
    ramet_conn *c, *l;
    int e = ramet_dial("tcp", "no-such-host.invalid:80", SOON, &c);
    CHECK(e == -ENOENT || e == -EHOSTUNREACH); /* the latter where no name server answers */
    l = listen_on("tcp", "127.0.0.1:0");
    char where[64];
    strcpy(where, address_of(l));
    CHECK_EQ(ramet_listen("tcp", where, 0, &c), -EADDRINUSE);
    ramet_close(l);
    CHECK_EQ(ramet_dial("tcp", where, SOON, &c), -ECONNREFUSED);
    ramet_stats st;
    ramet_get_stats(&st);
    CHECK_EQ(st.fds, 0);
}

static void dial_cancelled(void *arg) {
    ramet_conn *c;
    *(int *)arg = ramet_dial("tcp", "localhost:1", RAMET_FOREVER, &c);
}

static void cancel_a_look_up(void) {
    int result = 99;
    ramet_goroutine g;
    ramet_go(dial_cancelled, &result, &g);
    ramet_yield();
    ramet_cancel(g);
    CHECK_EQ(ramet_join(g, SOON), 0);
    CHECK(result == -ECANCELED || result == -ECONNREFUSED);
    ramet_sleep(10 * MS); /* the look-up ends and frees what it had */
}

static void dial_deadline(void) { /* a listener whose queue is full answers no more */
    ramet_conn *l, *fill[8], *c;
    int n = 0, e = 0;
    CHECK_EQ(ramet_listen("tcp", "127.0.0.1:0", 1, &l), 0);
    while (n < 8 && !(e = ramet_dial("tcp", address_of(l), ramet_deadline(40 * MS), &fill[n]))) n++;
    CHECK_EQ(e, -ETIMEDOUT);
    CHECK_EQ(ramet_dial("tcp", address_of(l), ramet_now() - 1, &c), -ETIMEDOUT);
    while (n) ramet_close(fill[--n]);
    ramet_close(l);
    char path[64];
    snprintf(path, sizeof path, "@ramet-full-%d", (int)getpid());
    CHECK_EQ(ramet_listen("unix", path, 1, &l), 0);
    while (n < 8 && !(e = ramet_dial("unix", path, ramet_deadline(20 * MS), &fill[n]))) n++;
    CHECK_EQ(e, -ETIMEDOUT);
    while (n) ramet_close(fill[--n]);
    ramet_close(l);
}

static void connect_step_by_step(void) { /* as a socket object does that is made before it is connected */
    ramet_conn *l = listen_on("tcp", "127.0.0.1:0"), *peer;
    rm_rt *rt = rm_g_self()->p->rt;
    struct sockaddr_in sa;
    socklen_t len = sizeof sa;
    char buf[16];
    CHECK_EQ(rm_conn_local((rm_conn *)l, (struct sockaddr *)&sa, &len), 0);
    rm_conn *c;
    CHECK_EQ(rm_conn_from_fd(rt, socket(AF_INET, SOCK_STREAM, 0), false, &c), 0);
    CHECK(c->tcp);
    CHECK_EQ(rm_conn_read(c, rm_g_self(), buf, sizeof buf, SOON), -ENOTCONN);
    CHECK_EQ(rm_conn_connect_to(c, rm_g_self(), (struct sockaddr *)&sa, len, SOON), 0);
    CHECK_EQ(rm_conn_connect_to(c, rm_g_self(), (struct sockaddr *)&sa, len, SOON), -EISCONN);
    CHECK_EQ(ramet_accept(l, SOON, &peer), 0);
    CHECK_EQ(ramet_write(peer, "abc", 3, SOON), 3);
    CHECK_EQ(rm_conn_read(c, rm_g_self(), buf, sizeof buf, SOON), 3);
    CHECK(!c->pd || !c->pd->hup); /* what it was before it was connected is forgotten */
    int fd = rm_conn_detach(c);
    CHECK(fd >= 0);
    CHECK_EQ(rm_conn_detach(c), -EBADF);
    rm_conn_unref(c);
    CHECK_EQ(close(fd), 0);
    ramet_close(peer), ramet_close(l);
}

static const check_test tests[] = {
    IN_RUNTIME(bad_addresses),
    IN_RUNTIME(good_addresses),
    IN_RUNTIME(names_and_refusals),
    IN_RUNTIME(cancel_a_look_up),
    IN_RUNTIME(dial_deadline),
    IN_RUNTIME(connect_step_by_step),
    {0},
};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
