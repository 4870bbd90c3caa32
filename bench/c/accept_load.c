/* accept_load.c: the load generator of the accept row: connect, send a byte, which must come back and then the end of
 * the stream; close. CONNS at a time; SIZE is 1. See load.h. */
#define _GNU_SOURCE
#include "load.h"

/* The server has closed first. A reset in answer spares it the TIME_WAIT of a minute, of which there would be more than
 * the kernel keeps. */
static void begin(client *c) {
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    char byte = (char)c->seq;
    open_stream(c);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    push(c, &byte, 1);
}

static bool ready(client *c, uint32_t events) {
    char byte = (char)c->seq;
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return false;
    if (!c->got && !pull(c, &byte, 1)) return false;
    ssize_t got = read(c->fd, &byte, 1);
    if (got < 0 && errno == EAGAIN) return false;
    if (got < 0) die("read");
    if (got) die_of(EBADMSG, "more than the byte");
    close(c->fd);
    return true;
}

int main(int argc, char **argv) {
    load_options(argc, argv);
    return load_run(&(generator){.begin = begin, .ready = ready});
}
