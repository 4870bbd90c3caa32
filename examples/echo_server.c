/* An echo server, a goroutine a connection.
 *
 *     echo_server [ADDRESS]      serve (127.0.0.1:7777), until Ctrl-C
 *     echo_server --check N      serve on a free port and check it with N connections that are open at once
 */
#include <ramet.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* ---- the server ---- */

static void echo(void *arg) {
    ramet_conn *c = arg;
    char buf[4096];
    ssize_t n;
    while ((n = ramet_read(c, buf, sizeof buf, RAMET_FOREVER)) > 0)
        if (ramet_write(c, buf, (size_t)n, RAMET_FOREVER) < 0) break;
    ramet_close(c);
}

static void serve(void *arg) {
    ramet_conn *listener = arg, *c;
    for (;;) {
        int error = ramet_accept(listener, RAMET_FOREVER, &c);
        if (error == -ECANCELED) return;
        if (!error && (error = ramet_go(echo, c, NULL))) ramet_close(c);
        /* out of descriptors or memory: again in a moment */
        if (error && ramet_sleep(10 * RAMET_MILLISECOND)) return;
    }
}

/* ---- the check ---- */

enum { MESSAGES = 3, LENGTH = 1000 };

typedef struct check {
    char address[64];
    ramet_chan *opened;    /* a client says here that it has got its connection, */
    ramet_chan *everybody; /* and waits for the closing of this until all have */
    int connections, right;
} check;

static int exchange(ramet_conn *c, int round) { /* 1: a message came back as it was sent */
    char sent[LENGTH], got[LENGTH];
    size_t have = 0;
    memset(sent, 'a' + round, sizeof sent);
    if (ramet_write(c, sent, sizeof sent, RAMET_FOREVER) < 0) return 0;
    while (have < sizeof got) {
        ssize_t n = ramet_read(c, got + have, sizeof got - have, ramet_deadline(30 * RAMET_SECOND));
        if (n <= 0) return 0;
        have += (size_t)n;
    }
    return memcmp(sent, got, sizeof got) == 0;
}

static void client(void *arg) {
    check *k = arg;
    ramet_conn *c;
    int error = ramet_dial("tcp", k->address, ramet_deadline(30 * RAMET_SECOND), &c);
    int told = ramet_chan_send(k->opened, &error, RAMET_FOREVER);
    if (error) return;
    /* either may fail, if we are cancelled because another client could not connect */
    if (told == 0 && ramet_chan_recv(k->everybody, NULL, RAMET_FOREVER) == -EPIPE)
        for (int i = 0; i < MESSAGES; i++) k->right += exchange(c, i);
    ramet_close(c);
}

static int run_check(check *k) {
    k->opened = ramet_chan_make(sizeof(int), (size_t)k->connections);
    k->everybody = ramet_chan_make(1, 0);
    ramet_goroutine *clients = calloc((size_t)k->connections, sizeof *clients);
    if (!k->opened || !k->everybody || !clients) return -ENOMEM;

    int error = 0, started = 0, lost = 0;
    while (started < k->connections && !error)
        if (!(error = ramet_go(client, k, &clients[started]))) started++;
    for (int i = 0; i < started && !error; i++)
        if ((lost = ramet_chan_recv(k->opened, &error, RAMET_FOREVER))) error = lost;
    if (!error) ramet_chan_close(k->everybody);
    for (int i = 0; i < started; i++) {
        if (error) ramet_cancel(clients[i]);
        ramet_join(clients[i], RAMET_FOREVER);
    }
    free(clients);
    ramet_chan_free(k->opened);
    ramet_chan_free(k->everybody);
    if (error) return error;

    int all = k->connections * MESSAGES;
    printf("%d connections open at once, %d of %d messages came back right\n", k->connections, k->right, all);
    return k->right == all ? 0 : 1;
}

/* ---- main ---- */

typedef struct options {
    const char *address;
    int check; /* connections; 0: only serve */
} options;

static int start(void *arg) {
    options *o = arg;
    ramet_conn *listener;
    int error = ramet_listen("tcp", o->address, 0, &listener);
    if (error) return error;
    if (!o->check) {
        printf("serving on %s\n", o->address);
        fflush(stdout);
        serve(listener);
        return 0;
    }
    struct sockaddr_in sa;
    socklen_t length = sizeof sa;
    getsockname(ramet_conn_fd(listener), (struct sockaddr *)&sa, &length);
    check k = {.connections = o->check};
    snprintf(k.address, sizeof k.address, "127.0.0.1:%d", ntohs(sa.sin_port));
    ramet_goroutine server;
    error = ramet_go(serve, listener, &server);
    if (error) return error;
    error = run_check(&k);
    ramet_cancel(server);
    ramet_join(server, RAMET_FOREVER);
    ramet_close(listener);
    return error;
}

int main(int argc, char **argv) {
    options o = {.address = "127.0.0.1:7777"};
    if (argc == 3 && !strcmp(argv[1], "--check")) {
        o.check = atoi(argv[2]);
        o.address = "127.0.0.1:0";
    } else if (argc == 2 && argv[1][0] != '-') {
        o.address = argv[1];
    }
    if (argc > 3 || (argc == 3 && o.check < 1) || (argc == 2 && argv[1][0] == '-')) {
        fputs("usage: echo_server [ADDRESS]\n       echo_server --check N\n", stderr);
        return 2;
    }
    struct rlimit files; /* a descriptor a connection: take as many as the system lets us have */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    int error = ramet_run(start, &o, NULL);
    if (error < 0) fprintf(stderr, "echo_server: %s\n", strerror(-error));
    return error ? 1 : 0;
}
