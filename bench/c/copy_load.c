/* copy_load.c: the load generator of the copy rows, with the arguments of load.h. CONNS 1: it connects, and the server
 * sends a file of SIZE bytes. CONNS 2: it sends those bytes on the first connection, and the server copies them to the
 * second. SIZE bytes must come and be right, and then the end of the stream. Times are from the connect to that end. */
#define _GNU_SOURCE
#include "load.h"

#include <poll.h>

enum { PATTERN = 1048573 };
static char pattern[PATTERN + MAX_SIZE], reply[MAX_SIZE];

/* The bytes that are copied begin anew after a prime number of them, so that a chunk in a wrong place is seen. */
static void make_pattern(void) {
    uint32_t x = 1;
    for (int i = 0; i < PATTERN + MAX_SIZE; i++)
        pattern[i] = i < PATTERN ? (char)((x = x * 1664525 + 1013904223) >> 24) : pattern[i - PATTERN];
}

/* Bytes of the pattern from an offset on: at least MAX_SIZE. */
static const char *pattern_at(int64_t offset) { return pattern + offset % PATTERN; }

static ssize_t chunk(int64_t left) { return left < MAX_SIZE ? left : MAX_SIZE; }

/* Send what goes; at the end the stream's end. */
static int64_t send_some(int fd, int64_t put) {
    ssize_t n = write(fd, pattern_at(put), (size_t)chunk(load.size - put));
    if (n < 0 && errno != EAGAIN) die("write");
    if (n > 0) put += n;
    if (put == load.size && shutdown(fd, SHUT_WR)) die("shutdown");
    return put;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "write")) { /* copy_load write SIZE: the file, on stdout */
        make_pattern();
        for (int64_t put = 0, n, size = atoi(argv[2]); put < size; put += n)
            if ((n = write(1, pattern_at(put), (size_t)chunk(size - put))) <= 0) die("write");
        return 0;
    }
    load_options(argc, argv);
    make_pattern();
    int64_t cpu = clock_ns(load.server_clock), own = cpu_ns(), t = now_ns(), got = 0;
    int64_t put = load.conns == 2 ? 0 : load.size;
    int from = load.conns == 2 ? open_socket(SOCK_STREAM) : -1, to = open_socket(SOCK_STREAM);
    if (from >= 0) set_nonblocking(from);
    set_nonblocking(to);
    for (ssize_t n = 1; n;) {
        struct pollfd fds[] = {{.fd = to, .events = POLLIN}, {.fd = put < load.size ? from : -1, .events = POLLOUT}};
        if (poll(fds, 2, PATIENCE * 1000) <= 0) die_of(ETIMEDOUT, "nothing moved for 10 s");
        if (fds[1].revents) put = send_some(from, put);
        if (!fds[0].revents) continue;
        n = read(to, reply, sizeof reply);
        if (n < 0 && errno != EAGAIN) die("read");
        if (n <= 0) continue;
        if (got + n > load.size || memcmp(reply, pattern_at(got), (size_t)n))
            die_of(EBADMSG, "bytes that are not those");
        got += n;
    }
    t = now_ns() - t, cpu = clock_ns(load.server_clock) - cpu, own = cpu_ns() - own;
    if (got != load.size) die_of(EPIPE, "the stream ended before its last byte");
    printf("{\"cpu_s\": %.6g, \"wall_s\": %.6g, \"load\": %.3f, \"server\": %.3f}\n", (double)cpu / 1e9,
           (double)t / 1e9, (double)own / (double)t, (double)cpu / (double)t);
    return 0;
}
