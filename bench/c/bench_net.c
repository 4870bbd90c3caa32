/* bench_net.c: the network servers, a goroutine a connection in blocking style. */
#include "bench.h"

static void echo(void *conn) {
    char buffer[CHUNK];
    ssize_t n;
    while ((n = ramet_read(conn, buffer, sizeof buffer, RAMET_FOREVER)) > 0)
        if (ramet_write(conn, buffer, (size_t)n, RAMET_FOREVER) < 0) break;
    ramet_close(conn);
}

static void once(void *conn) {
    char byte;
    if (ramet_read(conn, &byte, 1, RAMET_FOREVER) == 1) ramet_write(conn, &byte, 1, RAMET_FOREVER);
    ramet_close(conn);
}

static void serve(void (*handle)(void *conn)) {
    ramet_conn *listener, *conn;
    MUST(ramet_listen("tcp", "127.0.0.1:0", 4096, &listener));
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    if (getsockname(ramet_conn_fd(listener), (struct sockaddr *)&a, &len)) must(-9, "getsockname");
    printf("{\"port\": %d}\n", ntohs(a.sin_port));
    fflush(stdout);
    while (MUST(ramet_accept(listener, RAMET_FOREVER, &conn)) >= 0) MUST(ramet_go(handle, conn, NULL));
}

static void bench_echo(const options *o) { (void)o, serve(echo); }
static void bench_accept(const options *o) { (void)o, serve(once); }

int main(int argc, char **argv) {
    static const row rows[] = {{"echo", bench_echo}, {"accept", bench_accept}, {NULL, NULL}};
    return bench_main(rows, argc, argv);
}
