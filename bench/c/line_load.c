/* line_load.c: the load generator of the line protocol: "GET key000123\n", and "value-000123\n" must come back. SIZE is
 * how many keys there are, of which each client asks for one after the other. See load.h. */
#define _GNU_SOURCE
#include "load.h"

static char line[32];

static int key_of(const client *c) { return (int)((c->seq + (c->seq >> 32)) % (uint64_t)load.size); }

static void begin(client *c) { push(c, line, snprintf(line, sizeof line, "GET key%06d\n", key_of(c))); }

/* A line of this length is written at once: there is nothing to go on with. */
static bool ready(client *c, uint32_t events) {
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return false;
    return pull(c, line, snprintf(line, sizeof line, "value-%06d\n", key_of(c)));
}

int main(int argc, char **argv) {
    load_options(argc, argv);
    if (load.size < 1 || load.size > 1000000) return fprintf(stderr, "keys 1 ... 1000000\n"), 2;
    return load_run(&(generator){.open = open_stream, .begin = begin, .ready = ready});
}
