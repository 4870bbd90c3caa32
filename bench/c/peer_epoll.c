/* peer_epoll.c: the floor of the network rows: one thread, level-triggered epoll, one read and one
 * write a request, nothing else. The copies need no epoll: the socket blocks, the kernel copies. */
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { EVENTS = 512, LINE = 256, FDS = 1 << 16, MOST = 1 << 20 };

static char buffer[CHUNK];

/* A socket on 127.0.0.1, whose port it tells to the harness; < 0 if there is none. */
static int open_socket(int kind) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, kind, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) || (!(kind & SOCK_DGRAM) && listen(fd, 4096)) ||
        getsockname(fd, (struct sockaddr *)&a, &len)) {
        skip(strerror(errno));
        return -1;
    }
    printf("{\"port\": %d}\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

/* ---- a handler a readable connection; false: close it ---- */

/* Write all of it; the rare full socket buffer is waited out on the spot (the load generator has
 * one message outstanding, so it is always reading). */
static bool write_all(int fd, const char *p, ssize_t n) {
    while (n > 0) {
        ssize_t w = write(fd, p, (size_t)n);
        if (w < 0 && errno == EAGAIN) continue;
        if (w <= 0) return false;
        p += w, n -= w;
    }
    return true;
}

static bool echo_some(int fd) {
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0) return errno == EAGAIN;
    return got > 0 && write_all(fd, buffer, got);
}

static bool echo_byte(int fd) {
    ssize_t got = read(fd, buffer, 1);
    if (got < 0) return errno == EAGAIN;
    write_all(fd, buffer, got);
    return false;
}

typedef struct pair {
    char key[16], value[16];
} pair;

static pair pairs[KEYS]; /* in the order of their keys */
static struct {
    int n;
    char bytes[LINE];
} *partial; /* what a connection, by its descriptor, has sent of a line */

static int by_key(const void *key, const void *p) { return strcmp(key, ((const pair *)p)->key); }

static bool answer(int fd, char *line) {
    char out[32], *key = strchr(line, ' ');
    const pair *p = key ? bsearch(key + 1, pairs, KEYS, sizeof *pairs, by_key) : NULL;
    return p && write_all(fd, out, snprintf(out, sizeof out, "%s\n", p->value));
}

static bool answer_lines(int fd) {
    char *bytes = partial[fd].bytes, *line = bytes, *end;
    int n = partial[fd].n;
    ssize_t got = read(fd, bytes + n, (size_t)(LINE - n));
    if (got < 0) return errno == EAGAIN;
    n = got ? n + (int)got : 0;
    while (got && (end = memchr(line, '\n', (size_t)(bytes + n - line)))) {
        *end = 0;
        if (!answer(fd, line)) got = 0;
        line = end + 1;
    }
    n -= (int)(line - bytes);
    bool more = got && n < LINE; /* else the descriptor's next connection begins with nothing */
    memmove(bytes, line, (size_t)(more ? n : 0));
    partial[fd].n = more ? n : 0;
    return more;
}

static void serve(bool (*handle)(int fd)) {
    int on = 1, listener = open_socket(SOCK_STREAM | SOCK_NONBLOCK), ep = epoll_create1(0);
    struct epoll_event events[EVENTS], e = {.events = EPOLLIN, .data.fd = listener};
    if (listener < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e)) return;
    for (;;) {
        int n = epoll_wait(ep, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                if (!handle(fd)) close(fd);
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                e.data.fd = fd;
                epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
            }
        }
    }
}

static void echo(const options *o) { (void)o, serve(echo_some); }
static void once(const options *o) { (void)o, serve(echo_byte); }

static void lines(const options *o) {
    (void)o;
    for (int i = 0; i < KEYS; i++) {
        snprintf(pairs[i].key, sizeof pairs[i].key, "key%06d", i);
        snprintf(pairs[i].value, sizeof pairs[i].value, "value-%06d", i);
    }
    if (!(partial = calloc(FDS, sizeof *partial))) return skip("out of memory");
    serve(answer_lines);
}

/* ---- datagrams: one socket, which need not be waited for with epoll ---- */

static void datagrams(const options *o) {
    (void)o;
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    int fd = open_socket(SOCK_DGRAM);
    for (ssize_t n; fd >= 0; len = sizeof from)
        if ((n = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &len)) >= 0)
            sendto(fd, buffer, (size_t)n, 0, (struct sockaddr *)&from, len);
}

/* ---- copies ---- */

static void copy_file(const options *o) {
    (void)o;
    int file = open("copy.dat", O_RDONLY), listener = open_socket(SOCK_STREAM), fd;
    while (listener >= 0 && (fd = accept(listener, NULL, NULL)) >= 0) {
        off_t at = 0;
        while (sendfile(fd, file, &at, MOST) > 0) continue;
        close(fd);
    }
}

static void copy_socket(const options *o) {
    (void)o;
    int listener = open_socket(SOCK_STREAM), between[2], src, dst;
    if (pipe(between)) return;
    fcntl(between[1], F_SETPIPE_SZ, MOST);
    while (listener >= 0 && (src = accept(listener, NULL, NULL)) >= 0) {
        dst = accept(listener, NULL, NULL);
        ssize_t n, put = 1;
        while (put > 0 && (n = splice(src, NULL, between[1], NULL, MOST, SPLICE_F_MOVE)) > 0)
            for (; n > 0 && put > 0; n -= put) put = splice(between[0], NULL, dst, NULL, (size_t)n, SPLICE_F_MOVE);
        close(src);
        close(dst);
    }
}

static void version(const options *o) {
    (void)o;
    struct utsname u;
    uname(&u);
    printf("{\"version\": \"Linux %s\"}\n", u.release);
}

static const row rows[] = {{"echo", echo},          {"line", lines},
                           {"accept", once},        {"udp", datagrams},
                           {"copyfile", copy_file}, {"copysocket", copy_socket},
                           {"version", version},    {NULL, NULL}};

int main(int argc, char **argv) {
    options o = parse_options(argc, argv);
    const row *r = find_row(rows, argc, argv);
    if (r) r->run(&o);
    else skip("has no such thing");
    return 0;
}
