/* echo_load.c: the load generator of the echo rows: messages of SIZE bytes, which must come back. See load.h. */
#define _GNU_SOURCE
#include "load.h"

static char message[MAX_SIZE];

/* The message, with what tells it from the others in its first 8 bytes. */
static const char *message_of(const client *c) {
    memcpy(message, &c->seq, sizeof c->seq);
    return message;
}

static void begin(client *c) { push(c, message_of(c), load.size); }

static bool ready(client *c, uint32_t events) {
    if (c->put < load.size) push(c, message_of(c), load.size);
    return events & (EPOLLIN | EPOLLHUP | EPOLLERR) && pull(c, message_of(c), load.size);
}

int main(int argc, char **argv) {
    load_options(argc, argv);
    if (load.size < 8 || load.size > MAX_SIZE) return fprintf(stderr, "size 8 ... %d\n", MAX_SIZE), 2;
    for (int i = 8; i < load.size; i++) message[i] = (char)(i * 31);
    return load_run(&(generator){.open = open_stream, .begin = begin, .ready = ready});
}
