/* load.h: what the load generators share. Each *_load.c is a program
 *
 *     X_load PORT SIZE CONNS WARM SECONDS SERVER_PID [IDLE]
 *
 * CONNS clients in a closed loop, each with one request outstanding; IDLE further connections are opened and stay
 * silent. After WARM seconds it measures for SECONDS: requests, latencies, and the CPU time that the server's process
 * spent in the same window; then it lets the replies come in. Every reply is checked. One JSON line. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUCKETS = 64 * 32, MAX_SIZE = 1 << 20, EVENTS = 512, SOURCES = 8, AT_ONCE = 64, PATIENCE = 10 };

/* One client. */
typedef struct client {
    int fd;
    int got;      /* bytes of the reply read so far */
    int put;      /* bytes of the request written so far */
    uint64_t seq; /* tells this request from all others */
    int64_t sent; /* when the request was begun */
    bool waiting; /* for the reply; else an event means nothing */
    void *own;    /* the generator's */
} client;

/* What a generator does beside what all of them do. */
typedef struct generator {
    void (*open)(client *c);                    /* before the first request; NULL: a connection a request */
    void (*begin)(client *c);                   /* begin a request; it may stop where the socket is full */
    bool (*ready)(client *c, uint32_t events);  /* go on with it; true when its reply is whole, and is right */
    void (*close)(client *c);                   /* at the end; may be NULL */
} generator;

static struct load {
    int port, size, conns, idle, epfd;
    double warm, seconds;
    clockid_t server_clock;
    const generator *gen;
    uint64_t histogram[BUCKETS]; /* of 1/32 octaves */
    int64_t requests;
    int outstanding; /* requests whose reply has not come */
} load;

static inline void die(const char *what) {
    printf("{\"error\": \"load generator: %s: %s\"}\n", what, strerror(errno));
    exit(1);
}

static inline void die_of(int err, const char *what) {
    errno = err;
    die(what);
}

static inline void load_options(int argc, char **argv) {
    if (argc < 7) fprintf(stderr, "usage: %s PORT SIZE CONNS WARM SECONDS SERVER_PID [IDLE]\n", argv[0]), exit(2);
    signal(SIGPIPE, SIG_IGN); /* an error that is told instead */
    load.port = atoi(argv[1]), load.size = atoi(argv[2]), load.conns = atoi(argv[3]);
    load.warm = atof(argv[4]), load.seconds = atof(argv[5]);
    load.idle = argc > 7 ? atoi(argv[7]) : 0;
    if (load.conns < 1) fprintf(stderr, "connections >= 1\n"), exit(2);
    if ((errno = clock_getcpuclockid(atoi(argv[6]), &load.server_clock))) die("the server's CPU clock");
}

/* ---- latencies ---- */

static inline int bucket_of(int64_t ns) {
    uint64_t v = ns < 32 ? 32 : (uint64_t)ns;
    int octave = 63 - __builtin_clzll(v);
    return octave * 32 + (int)((v >> (octave - 5)) & 31);
}

static inline double bucket_ns(int b) { return (double)((uint64_t)(32 + b % 32) << (b / 32) >> 5); }

static inline double percentile(double q) {
    double want = q * (double)load.requests, seen = 0;
    for (int b = 0; b < BUCKETS; b++)
        if ((seen += (double)load.histogram[b]) >= want) return bucket_ns(b);
    return 0;
}

/* ---- sockets ---- */

/* Connect from 127.0.0.2 and the seven after it, in turn: the ports that closed connections keep in TIME_WAIT are then
 * not those of 127.0.0.1, where the next server looks for a free one, and there are enough of them. */
static inline int open_socket(int kind) {
    static unsigned turn;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)load.port)}, from = to;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + turn++ % SOURCES);
    from.sin_port = 0;
    int fd = socket(AF_INET, kind, 0), on = 1;
    if (fd < 0) die("socket");
    if (kind == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from)) die("bind");
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
    return fd;
}

static inline void set_nonblocking(int fd) {
    if (fcntl(fd, F_SETFL, O_NONBLOCK)) die("fcntl");
}

/* Let the loop know the client's socket. */
static inline void watch(client *c) {
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(load.epfd, EPOLL_CTL_ADD, c->fd, &e)) die("epoll_ctl");
}

static inline void open_stream(client *c) {
    c->fd = open_socket(SOCK_STREAM);
    set_nonblocking(c->fd);
    watch(c);
}

/* Write what is left of a request of n bytes; a full socket buffer is waited out by EPOLLOUT. */
static inline void push(client *c, const char *message, int n) {
    while (c->put < n) {
        ssize_t put = write(c->fd, message + c->put, (size_t)(n - c->put));
        if (put < 0 && errno == EAGAIN) return;
        if (put <= 0) die("write");
        c->put += (int)put;
    }
}

/* Read what has come of a reply of n bytes, which must be that one; true when it is whole. */
static inline bool pull(client *c, const char *expected, int n) {
    static char reply[MAX_SIZE];
    ssize_t got = read(c->fd, reply, (size_t)(n - c->got));
    if (got < 0 && errno == EAGAIN) return false;
    if (got == 0) errno = ECONNRESET;
    if (got <= 0) die("read");
    if (memcmp(reply, expected + c->got, (size_t)got)) die_of(EBADMSG, "the reply is not what it must be");
    c->got += (int)got;
    return c->got == n;
}

/* ---- the loop ---- */

static inline void load_begin(client *c) {
    c->seq++;
    c->got = c->put = 0;
    c->waiting = true;
    c->sent = now_ns();
    load.outstanding++;
    load.gen->begin(c);
}

/* Serve events until `until`. Replies are counted and timed (COUNT), only answered by the next
 * request (WARM), or not answered, until none is outstanding (DRAIN: connections that are closed with
 * a reply on its way would be reset, and the server would spend its time on the errors). */
typedef enum phase { WARM, COUNT, DRAIN } phase;

static inline void load_loop(double seconds, phase phase) {
    struct epoll_event events[EVENTS];
    int64_t t = now_ns(), heard = t, until = t + (int64_t)(seconds * 1e9);
    while (phase == DRAIN ? t < until && load.outstanding : t < until) {
        int n = epoll_wait(load.epfd, events, EVENTS, 100);
        t = now_ns();
        if (n > 0) heard = t;
        if (t - heard > PATIENCE * INT64_C(1000000000)) die_of(ETIMEDOUT, "no reply for 10 s");
        for (int i = 0; i < n; i++) {
            client *c = events[i].data.ptr;
            if (!c->waiting || !load.gen->ready(c, events[i].events)) continue;
            c->waiting = false;
            load.outstanding--;
            if (phase == COUNT) {
                load.requests++;
                load.histogram[bucket_of(now_ns() - c->sent)]++;
            }
            if (phase != DRAIN) load_begin(c);
        }
    }
}

/* No more than AT_ONCE clients are new to the server: the next ones come when all of those have had a reply. So no
 * connect meets a full queue, and no server is still accepting when it is measured. */
static inline void load_open(client *c, int i) {
    c->seq = (uint64_t)i << 32;
    if (load.gen->open) load.gen->open(c);
    load_begin(c);
    if ((i + 1) % AT_ONCE && i + 1 < load.conns) return;
    load_loop(PATIENCE, DRAIN);
    if (load.outstanding) die_of(ETIMEDOUT, "a first request without a reply");
}

/* All of a generator's work, after load_options(). */
static inline int load_run(const generator *gen) {
    load.gen = gen;
    if ((load.epfd = epoll_create1(0)) < 0) die("epoll_create1");
    for (int i = 0; i < load.idle; i++) open_socket(SOCK_STREAM);
    client *clients = calloc((size_t)load.conns, sizeof *clients);
    if (!clients) die("calloc");
    for (int i = 0; i < load.conns; i++) load_open(&clients[i], i);
    for (int i = 0; i < load.conns; i++) load_begin(&clients[i]);
    load_loop(load.warm, WARM);
    int64_t t = now_ns(), cpu = clock_ns(load.server_clock), own = cpu_ns();
    load_loop(load.seconds, COUNT);
    cpu = clock_ns(load.server_clock) - cpu, own = cpu_ns() - own, t = now_ns() - t;
    load_loop(PATIENCE, DRAIN);
    if (!load.requests) die_of(ETIMEDOUT, "no reply");
    if (load.outstanding) die_of(ETIMEDOUT, "a request without a reply");
    for (int i = 0; i < load.conns && gen->close; i++) gen->close(&clients[i]);
    double n = (double)load.requests;
    printf("{\"rps\": %.6g, \"p50_us\": %.6g, \"p99_us\": %.6g, \"p999_us\": %.6g, \"cpu_ns\": %.6g, \"load\": %.3f, "
           "\"server\": %.3f}\n",
           n / ((double)t / 1e9), percentile(0.5) / 1e3, percentile(0.99) / 1e3, percentile(0.999) / 1e3,
           (double)cpu / n, (double)own / (double)t, (double)cpu / (double)t);
    return 0;
}

#endif
