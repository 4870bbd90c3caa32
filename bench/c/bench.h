/* bench.h: what libramet's benchmark programs share: each bench_*.c is a program of a few rows,
 * `bench_X ROW [options] [--locked]`, which runs the row in the main goroutine, beside what the options
 * want to stand still meanwhile (--parked, --sleepers, --conns). */
#ifndef BENCH_H
#define BENCH_H

#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ramet.h>

/* Print what went wrong and end the process: a sample with an error is no sample. */
#define MUST(call) must((call), #call)
static inline int64_t must(int64_t result, const char *what) {
    if (result >= 0) return result;
    printf("{\"error\": \"%s: %s\"}\n", what, strerror((int)-result));
    fflush(stdout);
    exit(1);
}

/* ---- the background ---- */

/* Fork the child that holds the other ends of the idle connections, before the runtime starts; its
 * port, or 0 if there are none. A process of its own: the limit of descriptors is a process's. */
static int background_fork(const options *o) {
    if (!o->conns) return 0;
    struct sockaddr_in a = {.sin_family = AF_INET};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof a;
    int alive[2], listener = socket(AF_INET, SOCK_STREAM, 0);
    /* Accepted sockets inherit it: their end is a reset, which leaves no port behind in TIME_WAIT. */
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(listener, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (listener < 0 || bind(listener, (struct sockaddr *)&a, len) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&a, &len) || pipe(alive))
        must(-errno, "the holder of the idle connections");
    pid_t child = fork();
    if (child < 0) must(-errno, "fork");
    if (child == 0) {
        struct pollfd fds[] = {{.fd = alive[0], .events = POLLIN}, {.fd = listener, .events = POLLIN}};
        close(alive[1]);
        while (poll(fds, 2, -1) >= 0 && !fds[0].revents) /* until the parent has ended, at whatever point */
            accept(listener, NULL, NULL);
        _exit(0);
    }
    close(alive[0]);
    close(listener);
    return ntohs(a.sin_port);
}

static int background_waiting;

static void background_park(void *never) {
    background_waiting++;
    ramet_chan_recv(never, NULL, RAMET_FOREVER);
}

static void background_sleep(void *arg) {
    (void)arg;
    background_waiting++;
    ramet_sleep(3600 * RAMET_SECOND);
}

static void background_read(void *conn) {
    char byte;
    background_waiting++;
    ramet_read(conn, &byte, 1, RAMET_FOREVER);
}

/* Start the background, and return when all of it stands still. */
static void background_start(const options *o, int port) {
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    ramet_chan *never = ramet_chan_make(sizeof(int), 0);
    for (int i = 0; i < o->parked; i++) MUST(ramet_go(background_park, never, NULL));
    for (int i = 0; i < o->sleepers; i++) MUST(ramet_go(background_sleep, NULL, NULL));
    for (int i = 0; i < o->conns; i++) {
        ramet_conn *conn;
        MUST(ramet_dial("tcp", address, RAMET_FOREVER, &conn));
        MUST(ramet_go(background_read, conn, NULL));
    }
    while (background_waiting < o->parked + o->sleepers + o->conns) MUST(ramet_yield());
    MUST(ramet_yield());
}

/* ---- the program ---- */

typedef struct bench_job {
    options o;
    const row *row;
    int port;
} bench_job;

static int bench_start(void *arg) {
    bench_job *j = arg;
    background_start(&j->o, j->port);
    j->row->run(&j->o);
    fflush(stdout);
    _exit(0); /* without unwinding a million parked goroutines */
}

static inline int bench_main(const row *rows, int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "version")) return printf("{\"version\": \"%s\"}\n", RAMET_VERSION), 0;
    bench_job j = {.o = parse_options(argc, argv), .row = find_row(rows, argc, argv)};
    if (!j.row) return skip("has no such thing"), 0;
    j.port = background_fork(&j.o);
    ramet_options ro = {.mode = j.o.locked ? RAMET_LOCKED : RAMET_SERIALISED};
    return MUST(ramet_run(bench_start, &j, &ro)) != 0;
}

#endif
