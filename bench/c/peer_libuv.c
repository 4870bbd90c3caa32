/* peer_libuv.c: libuv: timers, the thread pool, and an echo server that writes at once
 * (uv_try_write) and queues a uv_write only when the socket is full. */
#include "common.h"

#include <unistd.h>
#include <uv.h>

/* ---- timers ---- */

static void on_timer(uv_timer_t *t) { (void)t; }

static uint64_t span_ms(int i) { return (uint64_t)(timer_span(i) / 1000000); }

static void timers(const options *o) {
    uv_loop_t *loop = uv_default_loop();
    uv_timer_t *t = calloc((size_t)o->n, sizeof *t);
    if (!t) return skip("out of memory");
    int64_t start = now_ns();
    for (int i = 0; i < o->n; i++) {
        uv_timer_init(loop, &t[i]);
        uv_timer_start(&t[i], on_timer, span_ms(i), 0);
    }
    int64_t created = now_ns();
    for (int i = 0; i < o->n; i++) uv_timer_stop(&t[i]);
    int64_t stopped = now_ns();
    emit2("create_ns", (double)(created - start) / o->n, "stop_ns", (double)(stopped - created) / o->n);
}

static int64_t churn(void *arg, int64_t n) {
    int64_t start = now_ns();
    for (int64_t i = 0; i < n; i++) {
        uv_timer_start(arg, on_timer, 100000, 0);
        uv_timer_stop(arg);
    }
    return now_ns() - start;
}

/* One handle started and stopped again and again, as a libuv program does. */
static void timerchurn(const options *o) {
    uv_timer_t t;
    uv_timer_init(uv_default_loop(), &t);
    emit("ns", measure(o, 8, churn, &t));
}

static int woken;
static void on_wake(uv_timer_t *t) { (void)t, woken++; }

static void sleepers(const options *o) {
    uv_loop_t *loop = uv_default_loop();
    uv_timer_t *t = calloc((size_t)o->n, sizeof *t);
    if (!t) return skip("out of memory");
    int64_t cpu = cpu_ns(), start = now_ns();
    for (int i = 0; i < o->n; i++) {
        uv_timer_init(loop, &t[i]);
        uv_timer_start(&t[i], on_wake, (uint64_t)(sleep_for(i) / 1000000), 0);
    }
    uv_run(loop, UV_RUN_DEFAULT);
    if (woken != o->n) return skip("not every timer fired");
    emit2("cpu_ns", (double)(cpu_ns() - cpu) / o->n, "wall_s", (double)(now_ns() - start) / 1e9);
}

/* ---- the thread pool: one call after the other ---- */

static struct {
    uv_work_t work;
    uv_timer_t timer;
    int64_t end, began, wall, count, cpu, gap_ms;
} b;

static void call(uv_work_t *w) { w->data = (void *)(intptr_t)getppid(); }
static void next_call(uv_timer_t *t);

static void called(uv_work_t *w, int status) {
    (void)w, (void)status;
    int64_t t = now_ns();
    b.wall += t - b.began;
    b.count++;
    if (t >= b.end) return;
    if (b.gap_ms) uv_timer_start(&b.timer, next_call, (uint64_t)b.gap_ms, 0);
    else next_call(&b.timer);
}

static void next_call(uv_timer_t *t) {
    (void)t;
    b.began = now_ns();
    uv_queue_work(uv_default_loop(), &b.work, call, called);
}

static void blocking(const options *o) {
    if (o->gap > 0 && o->gap < 0.001) return skip("its timers count milliseconds");
    uv_timer_init(uv_default_loop(), &b.timer);
    b.gap_ms = (int64_t)(o->gap * 1e3 + 0.5);
    next_call(&b.timer); /* starts the pool; not counted */
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    b.wall = b.count = 0;
    b.cpu = cpu_ns();
    b.end = now_ns() + (int64_t)(o->time * 1e9);
    next_call(&b.timer);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    emit2("ns", (double)b.wall / (double)b.count, "cpu_ns", (double)(cpu_ns() - b.cpu) / (double)b.count);
}

/* ---- echo, and a byte a connection ---- */

static char buffer[CHUNK]; /* one for all: what is read is written, or copied, before the next read */

typedef struct pending {
    uv_write_t req;
    char bytes[];
} pending;

static void on_close(uv_handle_t *h) { free(h); }
static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf) {
    (void)h, (void)hint;
    *buf = uv_buf_init(buffer, CHUNK);
}
static void on_written(uv_write_t *req, int status) {
    (void)status;
    free(req);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    if (n < 0) return uv_close((uv_handle_t *)s, on_close);
    uv_buf_t out = uv_buf_init(buf->base, (unsigned)n);
    int wrote = uv_try_write(s, &out, 1);
    if (wrote == UV_EAGAIN) wrote = 0;
    if (wrote < 0) return uv_close((uv_handle_t *)s, on_close);
    if (wrote == n) return;
    size_t left = (size_t)(n - wrote);
    pending *p = malloc(sizeof *p + left);
    if (!p) return uv_close((uv_handle_t *)s, on_close);
    memcpy(p->bytes, buf->base + wrote, left);
    uv_buf_t rest = uv_buf_init(p->bytes, (unsigned)left);
    if (uv_write(&p->req, s, &rest, 1, on_written)) free(p);
}

/* A byte fits into the socket's empty buffer. */
static void on_byte(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    uv_buf_t out = uv_buf_init(buf->base, 1);
    if (n > 0) uv_try_write(s, &out, 1);
    uv_close((uv_handle_t *)s, on_close);
}

static uv_read_cb on_input;

static void on_connection(uv_stream_t *listener, int status) {
    if (status < 0) return;
    uv_tcp_t *c = malloc(sizeof *c);
    if (!c) return;
    uv_tcp_init(listener->loop, c);
    if (uv_accept(listener, (uv_stream_t *)c)) return uv_close((uv_handle_t *)c, on_close);
    uv_tcp_nodelay(c, 1);
    uv_read_start((uv_stream_t *)c, on_alloc, on_input);
}

static void serve(uv_read_cb handle) {
    on_input = handle;
    uv_tcp_t listener;
    struct sockaddr_in a;
    int len = sizeof a;
    uv_ip4_addr("127.0.0.1", 0, &a);
    uv_tcp_init(uv_default_loop(), &listener);
    uv_tcp_bind(&listener, (struct sockaddr *)&a, 0);
    int err = uv_listen((uv_stream_t *)&listener, 4096, on_connection);
    if (err) return skip(uv_strerror(err));
    uv_tcp_getsockname(&listener, (struct sockaddr *)&a, &len);
    printf("{\"port\": %d}\n", ntohs(a.sin_port));
    fflush(stdout);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

static void echo(const options *o) { (void)o, serve(on_read); }
static void accept_(const options *o) { (void)o, serve(on_byte); }

static void version(const options *o) {
    (void)o;
    printf("{\"version\": \"%s\"}\n", uv_version_string());
}

static const row rows[] = {
    {"timers", timers}, {"timerchurn", timerchurn}, {"sleepers", sleepers}, {"blocking", blocking},
    {"echo", echo},     {"accept", accept_},        {"version", version},   {NULL, NULL}};

int main(int argc, char **argv) {
    options o = parse_options(argc, argv);
    const row *r = find_row(rows, argc, argv);
    if (r) r->run(&o);
    else skip("has no such thing");
    return 0;
}
