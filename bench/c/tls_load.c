/* tls_load.c: the load generator of the TLS rows: echo_load.c's messages over TLS 1.3 with AES-128-GCM, so that all
 * servers encrypt alike. The server's certificate must be cert.pem of the working directory. See load.h. */
#define _GNU_SOURCE
#include "load.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *ctx;
static char message[MAX_SIZE], reply[MAX_SIZE];

static void die_of_tls(const char *what, SSL *ssl, int result) {
    int kind = SSL_get_error(ssl, result);
    const char *why = ERR_reason_error_string(ERR_peek_error());
    if (!why) why = kind == SSL_ERROR_ZERO_RETURN ? "the server ended the connection" : strerror(errno);
    printf("{\"error\": \"load generator: %s: %s\"}\n", what, why);
    exit(1);
}

static bool would_wait(SSL *ssl, int result) {
    int kind = SSL_get_error(ssl, result);
    return kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE;
}

/* The handshake is not measured, and made while the socket still blocks. */
static void open_tls(client *c) {
    SSL *ssl = c->own = SSL_new(ctx);
    c->fd = open_socket(SOCK_STREAM);
    if (!ssl || !SSL_set_fd(ssl, c->fd) || !SSL_set_tlsext_host_name(ssl, "localhost")) die_of(ENOMEM, "SSL_new");
    int result = SSL_connect(ssl);
    if (result != 1) die_of_tls("handshake", ssl, result);
    set_nonblocking(c->fd);
    watch(c);
}

static void begin(client *c) {
    while (c->put < load.size) {
        memcpy(message, &c->seq, sizeof c->seq);
        int put = SSL_write(c->own, message + c->put, load.size - c->put);
        if (put <= 0 && would_wait(c->own, put)) return;
        if (put <= 0) die_of_tls("write", c->own, put);
        c->put += put;
    }
}

static bool ready(client *c, uint32_t events) {
    (void)events; /* either direction of TLS may need either of the socket */
    begin(c);
    while (c->got < load.size) {
        int got = SSL_read(c->own, reply, load.size - c->got);
        if (got <= 0 && would_wait(c->own, got)) return false;
        if (got <= 0) die_of_tls("read", c->own, got);
        memcpy(message, &c->seq, sizeof c->seq);
        if (memcmp(reply, message + c->got, (size_t)got)) die_of(EBADMSG, "the reply is not what it must be");
        c->got += got;
    }
    return true;
}

static void close_tls(client *c) { SSL_shutdown(c->own); }

int main(int argc, char **argv) {
    load_options(argc, argv);
    if (load.size < 8 || load.size > MAX_SIZE) return fprintf(stderr, "size 8 ... %d\n", MAX_SIZE), 2;
    for (int i = 8; i < load.size; i++) message[i] = (char)(i * 31);
    ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") ||
        !SSL_CTX_load_verify_locations(ctx, "cert.pem", NULL))
        die_of(EINVAL, "TLS 1.3 with cert.pem");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return load_run(&(generator){.open = open_tls, .begin = begin, .ready = ready, .close = close_tls});
}
