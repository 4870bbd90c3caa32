/* echo_load.c: the load generator of the echo rows.
 *
 *     echo_load PORT SIZE CONNS WARM SECONDS SERVER_PID [IDLE]
 *
 * CONNS connections in a closed loop, one message of SIZE bytes outstanding on each; IDLE further
 * connections are opened and stay silent. After WARM seconds it measures for SECONDS: requests,
 * latencies (a histogram of 1/32 octaves), and the CPU time that the server's process spent in the
 * same window; then it lets the replies come in and closes. Every reply is checked against what was sent. One JSON line. */
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUCKETS = 64 * 32, MAX_SIZE = 1 << 20, EVENTS = 512 };

typedef struct conn {
    int fd;
    int got;      /* bytes of the reply read so far */
    int put;      /* bytes of the message written so far */
    uint64_t seq; /* stands in the first 8 bytes of the message */
    int64_t sent; /* when the message was begun */
} conn;

static char message[MAX_SIZE], reply[MAX_SIZE];
static int size, epfd;
static uint64_t histogram[BUCKETS];
static int64_t requests;
static int outstanding; /* messages whose reply has not come */

static void die(const char *what) {
    printf("{\"error\": \"load generator: %s: %s\"}\n", what, strerror(errno));
    exit(1);
}

static int bucket_of(int64_t ns) {
    uint64_t v = ns < 32 ? 32 : (uint64_t)ns;
    int octave = 63 - __builtin_clzll(v);
    return octave * 32 + (int)((v >> (octave - 5)) & 31);
}

static double bucket_ns(int b) { return (double)((uint64_t)(32 + b % 32) << (b / 32) >> 5); }

static double percentile(double q) {
    double want = q * (double)requests, seen = 0;
    for (int b = 0; b < BUCKETS; b++)
        if ((seen += (double)histogram[b]) >= want) return bucket_ns(b);
    return 0;
}

/* Connect from 127.0.0.2: the ports that closed connections keep in TIME_WAIT are then not those of
 * 127.0.0.1, where the next server looks for a free one. */
static int open_conn(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}, from = to;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    from.sin_port = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from)) die("bind");
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
    if (fcntl(fd, F_SETFL, O_NONBLOCK)) die("fcntl");
    return fd;
}

/* Write what is left of the message; a full socket buffer is waited out by EPOLLOUT. */
static void push(conn *c) {
    while (c->put < size) {
        memcpy(message, &c->seq, sizeof c->seq);
        ssize_t n = write(c->fd, message + c->put, (size_t)(size - c->put));
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) die("write");
        c->put += (int)n;
    }
}

static void begin(conn *c) {
    c->seq++;
    c->got = c->put = 0;
    c->sent = now_ns();
    outstanding++;
    push(c);
}

/* Read what has come; true when the reply is whole. */
static bool pull(conn *c) {
    ssize_t n = read(c->fd, reply, (size_t)(size - c->got));
    if (n < 0 && errno == EAGAIN) return false;
    if (n == 0) errno = ECONNRESET;
    if (n <= 0) die("read");
    memcpy(message, &c->seq, sizeof c->seq);
    if (memcmp(reply, message + c->got, (size_t)n)) {
        errno = EBADMSG;
        die("the reply differs from the message");
    }
    c->got += (int)n;
    return c->got == size;
}

/* Serve events until `until`. Replies are counted and timed (COUNT), only answered by the next
 * message (WARM), or not answered, until none is outstanding (DRAIN: connections that are closed with
 * a reply on its way would be reset, and the server would spend its time on the errors). */
typedef enum phase { WARM, COUNT, DRAIN } phase;

static void loop(int64_t until, phase phase) {
    struct epoll_event events[EVENTS];
    int64_t t = now_ns(), heard = t;
    while (t < until && !(phase == DRAIN && outstanding == 0)) {
        int n = epoll_wait(epfd, events, EVENTS, 100);
        t = now_ns();
        if (n > 0) heard = t;
        if (t - heard > INT64_C(10000000000)) {
            errno = ETIMEDOUT;
            die("no reply for 10 s");
        }
        for (int i = 0; i < n; i++) {
            conn *c = events[i].data.ptr;
            if (c->put < size) push(c);
            if (!(events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || !pull(c)) continue;
            outstanding--;
            if (phase == COUNT) {
                requests++;
                histogram[bucket_of(now_ns() - c->sent)]++;
            }
            if (phase != DRAIN) begin(c);
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 7) return fprintf(stderr, "usage: echo_load PORT SIZE CONNS WARM SECONDS SERVER_PID [IDLE]\n"), 2;
    int port = atoi(argv[1]), count = atoi(argv[3]), idle = argc > 7 ? atoi(argv[7]) : 0;
    size = atoi(argv[2]);
    if (size < 8 || size > MAX_SIZE || count < 1)
        return fprintf(stderr, "size 8 ... %d, connections >= 1\n", MAX_SIZE), 2;
    clockid_t server_clock;
    if ((errno = clock_getcpuclockid(atoi(argv[6]), &server_clock))) die("the server's CPU clock");
    for (int i = 8; i < size; i++) message[i] = (char)(i * 31);
    if ((epfd = epoll_create1(0)) < 0) die("epoll_create1");
    for (int i = 0; i < idle; i++) open_conn(port);
    conn *conns = calloc((size_t)count, sizeof *conns);
    if (!conns) die("calloc");
    for (int i = 0; i < count; i++) {
        conn *c = &conns[i];
        c->fd = open_conn(port);
        c->seq = (uint64_t)i << 32;
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
        if (epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &e)) die("epoll_ctl");
    }
    for (int i = 0; i < count; i++) begin(&conns[i]);
    loop(now_ns() + (int64_t)(atof(argv[4]) * 1e9), WARM);
    int64_t t = now_ns(), cpu = clock_ns(server_clock), own = cpu_ns();
    loop(t + (int64_t)(atof(argv[5]) * 1e9), COUNT);
    cpu = clock_ns(server_clock) - cpu, own = cpu_ns() - own, t = now_ns() - t;
    loop(now_ns() + INT64_C(10000000000), DRAIN);
    if (!requests) {
        errno = ETIMEDOUT;
        die("no reply");
    }
    printf("{\"rps\": %.6g, \"p50_us\": %.6g, \"p99_us\": %.6g, \"cpu_ns\": %.6g, \"load\": %.3f, "
           "\"server\": %.3f}\n",
           (double)requests / ((double)t / 1e9), percentile(0.5) / 1e3, percentile(0.99) / 1e3,
           (double)cpu / (double)requests, (double)own / (double)t, (double)cpu / (double)t);
    return 0;
}
