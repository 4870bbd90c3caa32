/* udp_load.c: the load generator of the datagram rows: a socket a client, datagrams of SIZE bytes, which must come back.
 * See load.h. None is sent twice: on the loopback, with so few under way, none is lost. */
#define _GNU_SOURCE
#include "load.h"

enum { MAX_DATAGRAM = 65000 };
static char datagram[MAX_DATAGRAM], reply[MAX_DATAGRAM];

static void open_datagrams(client *c) {
    c->fd = open_socket(SOCK_DGRAM);
    set_nonblocking(c->fd);
    watch(c);
}

static void begin(client *c) {
    memcpy(datagram, &c->seq, sizeof c->seq);
    if (send(c->fd, datagram, (size_t)load.size, 0) != load.size) die("send");
}

static bool ready(client *c, uint32_t events) {
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return false;
    ssize_t got = recv(c->fd, reply, sizeof reply, 0);
    if (got < 0 && errno == EAGAIN) return false;
    if (got < 0) die("recv");
    memcpy(datagram, &c->seq, sizeof c->seq);
    if (got != load.size || memcmp(reply, datagram, (size_t)got)) die_of(EBADMSG, "the reply is not what it must be");
    return true;
}

int main(int argc, char **argv) {
    load_options(argc, argv);
    if (load.size < 8 || load.size > MAX_DATAGRAM) return fprintf(stderr, "size 8 ... %d\n", MAX_DATAGRAM), 2;
    for (int i = 8; i < load.size; i++) datagram[i] = (char)(i * 31);
    return load_run(&(generator){.open = open_datagrams, .begin = begin, .ready = ready});
}
