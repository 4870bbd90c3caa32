/* ramet.h: Go's concurrency as a C library.
 *
 * The model is Go's: goroutines (ramet_go) are cheap threads of control with a stack of their own,
 * scheduled on one proc (an OS thread); they talk through channels (ramet_chan_*), wait for several
 * at once (ramet_select), sleep, read and write sockets, and hand blocking calls to a pool of
 * threads. Whatever waits, waits alone: the proc runs the others meanwhile.
 *
 *     #include <ramet.h>
 *     static ramet_chan *c;
 *     static void hello(void *arg) { ramet_chan_send(c, &arg, RAMET_FOREVER); }
 *     static int start(void *arg) {
 *         void *word;
 *         c = ramet_chan_make(sizeof word, 0);
 *         ramet_go(hello, "world", NULL);
 *         ramet_chan_recv(c, &word, RAMET_FOREVER);
 *         ramet_chan_free(c);
 *         return 0;
 *     }
 *     int main(void) { return ramet_run(start, NULL, NULL); }
 *
 * Conventions, which hold for every function unless its comment says otherwise:
 *
 * Errors are negative errno values; 0 or a positive number is success. Nothing here aborts on a
 *   user's error, and errno itself is not part of the interface.
 * Time is int64_t nanoseconds. A deadline is absolute, on the clock of ramet_now(); RAMET_FOREVER
 *   is no deadline. A deadline of RAMET_POLL (0) never waits: the function returns -EAGAIN where
 *   it would have had to. A deadline that passes gives -ETIMEDOUT. Nothing is early; an idle proc may
 *   be late by 1/128 of the time that was ahead, at most 1 ms, so that many wake-ups become one.
 * Parking. "May park" says that the calling goroutine may be suspended and others run. Each such
 *   call is a cancellation point: it returns -ECANCELED if the goroutine has been cancelled, or is
 *   in a scope that has been; when that is so on entry nothing is consumed, and a wait that has
 *   completed keeps its result. An operation on a channel, a lock or another type of this kind that
 *   has RAMET_POLL for a deadline is none: it does not wait, and tidying up may need it.
 * Threads. "Any thread" functions may be called by goroutines and, while ramet_run is running, by
 *   other OS threads, which then block as threads. "Goroutines only" functions return -EPERM
 *   elsewhere.
 * Stacks are of a fixed size (ramet_options.stack_size) with a guard below; an overflow ends the
 *   process with a message that names the goroutine.
 * The FPU control words are not saved at a switch: a goroutine that changes rounding or masks
 *   restores them before it calls anything that may park.
 */
#ifndef RAMET_H
#define RAMET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RAMET_VERSION_MAJOR 0
#define RAMET_VERSION_MINOR 1
#define RAMET_VERSION_PATCH 0
#define RAMET_VERSION "0.1.0"

#if defined(__GNUC__)
#define RAMET_API __attribute__((visibility("default")))
#else
#define RAMET_API
#endif

#define RAMET_FOREVER INT64_MAX
#define RAMET_POLL ((int64_t)0)
#define RAMET_MICROSECOND INT64_C(1000)
#define RAMET_MILLISECOND INT64_C(1000000)
#define RAMET_SECOND INT64_C(1000000000)

/* ---------------------------------------------------------------- the runtime ---- */

/* How the runtime keeps its data whole. Serialised: goroutines of one proc and foreign threads
 * take turns under one lock, and no operation pays for an atomic. Locked: every channel has a lock
 * of its own and the queues are atomic, so that foreign threads do not wait for a turn. */
typedef enum ramet_mode { RAMET_SERIALISED = 0, RAMET_LOCKED = 1 } ramet_mode;

/* Zero in any field means the default. */
typedef struct ramet_options {
    ramet_mode mode;
    size_t stack_size;       /* bytes a goroutine's stack slot spans, guard included; rounded up to a
                                power of two between 16 KiB and 64 MiB; default 64 KiB */
    unsigned max_threads;    /* pool threads for ramet_blocking at most; default 64 */
    uint64_t seed;           /* of the random choices of select; default: from the kernel */
    bool quiet;              /* do not print a deadlock report */
} ramet_options;

typedef struct ramet_stats {
    uint64_t goroutines;     /* alive now, main included */
    uint64_t started;        /* goroutines started so far */
    uint64_t switches;       /* switches from one goroutine to another or to the idle loop */
    uint64_t polls;          /* times the poller was asked */
    uint64_t stacks;         /* stack slots ever carved */
    uint64_t free_stacks;    /* of these, free now */
    uint64_t timers;         /* pending now */
    uint64_t pool_threads;   /* blocking pool threads alive */
    uint64_t pool_idle;      /* of these, idle */
    uint64_t pool_queued;    /* blocking calls waiting for a thread */
    uint64_t fds;            /* descriptors registered with the poller */
} ramet_stats;

/* Run `start(arg)` as the main goroutine, on the calling thread's own stack, until it returns; then
 * cancel the goroutines that are still alive, let them end for at most two seconds, drop what is
 * left, and return what `start` returned. Called outside any runtime, by one thread at a time:
 * -EBUSY while another ramet_run is running, -ENOMEM, -EINVAL for bad options. If every goroutine
 * waits for what nothing can bring, a report goes to stderr and main's wait returns -EDEADLK. */
RAMET_API int ramet_run(int (*start)(void *arg), void *arg, const ramet_options *options);

/* Fill in `out`. Any thread; does not park. -EPERM when no runtime is running. */
RAMET_API int ramet_get_stats(ramet_stats *out);

/* The clock of all deadlines: CLOCK_MONOTONIC in nanoseconds. Any thread, at any time. */
RAMET_API int64_t ramet_now(void);

/* A deadline `ns` from now (saturating). Any thread, at any time. */
RAMET_API int64_t ramet_deadline(int64_t ns);

/* ---------------------------------------------------------------- goroutines ---- */

/* Names a goroutine for ever: a goroutine that has ended is never mistaken for another. */
typedef struct ramet_goroutine {
    void *g;
    uint64_t id;
} ramet_goroutine;

/* Start fn(arg) in a new goroutine, behind those already runnable; goroutines begin in the order
 * of their ramet_go. `out` may be NULL. Any thread; does not park. -ENOMEM, -EPERM. */
RAMET_API int ramet_go(void (*fn)(void *arg), void *arg, ramet_goroutine *out);

/* The running goroutine; {NULL, 0} in a foreign thread. */
RAMET_API ramet_goroutine ramet_self(void);

/* Name a goroutine in dumps; the text is copied, to 15 bytes. Goroutines only; -ESRCH if it has ended. */
RAMET_API int ramet_set_name(ramet_goroutine g, const char *name);

/* Let the other runnable goroutines run first. Goroutines only; may park. 0, -ECANCELED, -EPERM. */
RAMET_API int ramet_yield(void);

/* Sleep; zero or less yields. Any thread; may park. 0, -ECANCELED. */
RAMET_API int ramet_sleep(int64_t ns);

/* Wait until g has ended; at once if it has. Any thread; may park. 0, -ETIMEDOUT, -EAGAIN,
 * -ECANCELED, -EDEADLK if g is the caller. */
RAMET_API int ramet_join(ramet_goroutine g, int64_t deadline);

/* Cancel g once: its current or next call that may park returns -ECANCELED (another cancel before
 * it has is the same one). A goroutine that has not begun never begins. Any thread; does not park.
 * 0, -ESRCH if it has ended. */
RAMET_API int ramet_cancel(ramet_goroutine g);

/* ---------------------------------------------------------------- channels ---- */

/* A channel of elements of one size with room for `capacity` of them (0: sender and receiver
 * meet). A NULL ramet_chan* is a nil channel: sends and receives on it block for ever. */
typedef struct ramet_chan ramet_chan;

/* Any thread in a runtime; does not park. NULL when out of memory, outside a runtime, or when
 * capacity * elem_size overflows. */
RAMET_API ramet_chan *ramet_chan_make(size_t elem_size, size_t capacity);

/* Free a channel that nobody uses or waits on any more (else -EBUSY, and it is left alone). */
RAMET_API int ramet_chan_free(ramet_chan *c);

/* Send *elem: to the longest waiting receiver, else into the buffer, else wait. Any thread; may
 * park. 0, -EPIPE if the channel is closed or is closed while waiting, -EAGAIN, -ETIMEDOUT,
 * -ECANCELED, -EDEADLK in main. */
RAMET_API int ramet_chan_send(ramet_chan *c, const void *elem, int64_t deadline);

/* Receive into *elem (NULL drops the value). Any thread; may park. 0; -EPIPE once the channel is
 * closed and drained, *elem then being zeroed; -EAGAIN, -ETIMEDOUT, -ECANCELED, -EDEADLK. */
RAMET_API int ramet_chan_recv(ramet_chan *c, void *elem, int64_t deadline);

/* Close: senders get -EPIPE, receivers drain the buffer and then get -EPIPE, all waiters are woken.
 * Any thread; does not park. 0, -EPIPE if already closed, -EINVAL for NULL. */
RAMET_API int ramet_chan_close(ramet_chan *c);

/* Elements in the buffer, its capacity, and whether the channel is closed. Any thread. */
RAMET_API size_t ramet_chan_len(const ramet_chan *c);
RAMET_API size_t ramet_chan_cap(const ramet_chan *c);
RAMET_API bool ramet_chan_closed(const ramet_chan *c);

/* One case of a select. `ok` is set for the case that ran: true for a send and for a received
 * value, false for a receive on a closed channel (whose elem is then zeroed). */
typedef enum ramet_dir { RAMET_RECV = 0, RAMET_SEND = 1 } ramet_dir;
typedef struct ramet_case {
    ramet_chan *chan;        /* NULL: never ready */
    void *elem;              /* the value to send, or where to receive (may be NULL) */
    ramet_dir dir;
    bool ok;
} ramet_case;

#define RAMET_SELECT_MAX 65535

/* Wait until a case can run, run exactly one, chosen uniformly at random among the ready, and
 * return its index. The same channel may stand in several cases and in both directions. A deadline
 * of RAMET_POLL is Go's default. Any thread; may park. -EPIPE if the case chosen is a send on a closed
 * channel, -EAGAIN, -ETIMEDOUT, -ECANCELED, -EDEADLK, -ENOMEM, -EINVAL for n < 0 or > RAMET_SELECT_MAX. */
RAMET_API int ramet_select(ramet_case *cases, int n, int64_t deadline);

/* ---------------------------------------------------------------- scopes ---- */

/* A scope spans a stretch of one goroutine's code, from enter to leave. While it is cancelled, by
 * ramet_scope_cancel or because its deadline passed, every call in it that may park returns
 * -ECANCELED. Scopes nest: cancelling one cancels what is inside. The struct is the caller's,
 * usually on its stack; its fields are private. */
typedef struct ramet_scope {
    void *opaque_[16];
} ramet_scope;

/* Begin and end a scope on the running goroutine. Leave in reverse order of enter. Goroutines
 * only; do not park. leave returns 1 if the scope itself had been cancelled or expired, else 0;
 * -EPERM in a foreign thread, -EINVAL if s is not the innermost. */
RAMET_API int ramet_scope_enter(ramet_scope *s, int64_t deadline);
RAMET_API int ramet_scope_leave(ramet_scope *s);

/* A scope that what is outside it cannot cancel: both ramet_cancel and outer scopes wait until it
 * is left. Goroutines only; does not park. */
RAMET_API int ramet_scope_enter_shield(ramet_scope *s);

/* Cancel a scope from anywhere; move its deadline. Any thread; do not park. 0. The scope must
 * still be entered (the caller sees to that). */
RAMET_API int ramet_scope_cancel(ramet_scope *s);
RAMET_API int ramet_scope_set_deadline(ramet_scope *s, int64_t deadline);

/* ---------------------------------------------------------------- timers ---- */

/* A timer calls fn(arg) on the proc, between goroutines, once its time has come: fn must be short
 * and must not park (start a goroutine for more). */
typedef struct ramet_timer ramet_timer;

/* New, stopped. Goroutines only; NULL when out of memory. */
RAMET_API ramet_timer *ramet_timer_new(void (*fn)(void *arg), void *arg);
/* Stop it and free it. */
RAMET_API void ramet_timer_free(ramet_timer *t);
/* (Re)arm for `when`; if period > 0 again every period after that. 1 if it was pending, else 0;
 * -ENOMEM, -EPERM. */
RAMET_API int ramet_timer_start(ramet_timer *t, int64_t when, int64_t period);
/* Stop: fn will not be called again. 1 if it was pending, else 0. */
RAMET_API int ramet_timer_stop(ramet_timer *t);

/* A ticker delivers the time, an int64_t of ramet_now's, on its channel every `period`. The channel has
 * room for one: a tick that finds it taken is dropped, and a late receiver gets the one that is there. */
typedef struct ramet_ticker ramet_ticker;

/* New; the first tick comes after one period. Goroutines only; NULL when out of memory and for a period
 * of zero or less. */
RAMET_API ramet_ticker *ramet_ticker_new(int64_t period);
/* The channel to receive from, by any thread. It is freed with the ticker. Any thread. */
RAMET_API ramet_chan *ramet_ticker_chan(ramet_ticker *t);
/* Stop: no more ticks, and none of before is received any more; the channel is not closed. Goroutines
 * only; does not park. 1 if it was ticking, else 0; -EPERM. */
RAMET_API int ramet_ticker_stop(ramet_ticker *t);
/* Tick every `period` from now on, also if it was stopped; no tick of before is received any more.
 * Goroutines only; does not park. 1 if it was ticking, else 0; -EINVAL for a period of zero or less,
 * which changes nothing; -ENOMEM, -EPERM. */
RAMET_API int ramet_ticker_reset(ramet_ticker *t, int64_t period);
/* Stop it and free it. Goroutines only, or once ramet_run has returned. -EBUSY if somebody waits for a
 * tick, and -EPERM in another thread: then it is left alone. */
RAMET_API int ramet_ticker_free(ramet_ticker *t);

/* ---------------------------------------------------------------- locks ---- */

/* All of these: memory that is all zero is a fresh one; it stays where it is and is the caller's
 * until nobody uses it. Any thread; the calls with a deadline may park, and return 0, or, having taken
 * nothing, -ETIMEDOUT, -EAGAIN, -ECANCELED, -EDEADLK or -ENOMEM; the others never park. Waiters queue
 * in order. */
typedef struct ramet_mutex {
    uint64_t opaque[4];
} ramet_mutex;
typedef struct ramet_rwmutex {
    uint64_t opaque[5];
} ramet_rwmutex;
typedef struct ramet_cond {
    uint64_t opaque[4];
} ramet_cond;
typedef struct ramet_sem {
    uint64_t opaque[5];
} ramet_sem;
typedef struct ramet_event {
    uint64_t opaque[4];
} ramet_event;
typedef struct ramet_waitgroup {
    uint64_t opaque[5];
} ramet_waitgroup;
typedef struct ramet_once {
    uint64_t opaque[5];
} ramet_once;

/* A lock without an owner: anybody may unlock it; -EPERM if it is not locked. Whoever runs may take a
 * free one before those who wait, for at most 1 ms. */
RAMET_API int ramet_mutex_lock(ramet_mutex *m, int64_t deadline);
RAMET_API int ramet_mutex_unlock(ramet_mutex *m);

/* Many readers or one writer, in order: a writer that waits keeps later readers out. -EPERM for an
 * unlock of what is not locked so. */
RAMET_API int ramet_rwmutex_lock(ramet_rwmutex *m, int64_t deadline);
RAMET_API int ramet_rwmutex_rlock(ramet_rwmutex *m, int64_t deadline);
RAMET_API int ramet_rwmutex_unlock(ramet_rwmutex *m);
RAMET_API int ramet_rwmutex_runlock(ramet_rwmutex *m);

/* Unlock m, wait to be woken, lock m again, which is so whatever is returned (but for -EDEADLK, and
 * -EPERM: m was not locked). signal wakes one, broadcast all: how many. */
RAMET_API int ramet_cond_wait(ramet_cond *c, ramet_mutex *m, int64_t deadline);
RAMET_API int ramet_cond_signal(ramet_cond *c);
RAMET_API int ramet_cond_broadcast(ramet_cond *c);

/* A counter, 0 at first; acquire takes one and waits while there is none; release gives n to those who
 * have waited longest. -EOVERFLOW. */
RAMET_API int ramet_sem_acquire(ramet_sem *s, int64_t deadline);
RAMET_API int ramet_sem_release(ramet_sem *s, uint32_t n);

/* Once set, all who wait go on, and who comes later does not wait. */
RAMET_API int ramet_event_wait(ramet_event *v, int64_t deadline);
RAMET_API int ramet_event_set(ramet_event *v);
RAMET_API int ramet_event_clear(ramet_event *v);

/* Waits until the counter is 0. -EINVAL, and nothing is changed, if add would make it negative. */
RAMET_API int ramet_waitgroup_add(ramet_waitgroup *w, int64_t n);
RAMET_API int ramet_waitgroup_wait(ramet_waitgroup *w, int64_t deadline);

/* Call fn(arg) if this is the first call for o, else wait until that one has ended. fn may park. 0, or
 * -ECANCELED. */
RAMET_API int ramet_once_do(ramet_once *o, void (*fn)(void *arg), void *arg);

/* ---------------------------------------------------------------- sockets ---- */

/* A connection or a listener. Reads and writes of one direction may be called by several
 * goroutines; closing wakes whoever waits. A ramet_conn is reference counted inside: close may be
 * called while others wait in it, and the memory stays good until they have left. */
typedef struct ramet_conn ramet_conn;

/* Networks: "tcp" "tcp4" "tcp6" with address "host:port", "[v6%zone]:port" or ":port" (listen: all
 * interfaces; dial: this machine), "unix" with a path (a leading '@' is Linux's abstract name).
 * Names are looked up off the scheduler. Goroutines only; may park. *out is set on success.
 * -EINVAL for a network or address that is none, -ENOENT for a name that is unknown, else what the
 * system says. */
RAMET_API int ramet_dial(const char *network, const char *address, int64_t deadline, ramet_conn **out);
RAMET_API int ramet_listen(const char *network, const char *address, int backlog, ramet_conn **out);
RAMET_API int ramet_accept(ramet_conn *listener, int64_t deadline, ramet_conn **out);

/* Read at most n bytes (0: end of stream), or write all n. Goroutines only; may park. Bytes read,
 * or n; -ECANCELED, -ETIMEDOUT (of the connection's deadlines too), -ECONNABORTED if the connection
 * was closed while waiting, -EBADF if it is closed, else what the system says. A write that
 * fails part way has written what it has written. */
RAMET_API ssize_t ramet_read(ramet_conn *c, void *buf, size_t n, int64_t deadline);
RAMET_API ssize_t ramet_write(ramet_conn *c, const void *buf, size_t n, int64_t deadline);

/* Sticky deadlines of the connection, for both or one direction; RAMET_FOREVER clears. */
RAMET_API int ramet_set_deadline(ramet_conn *c, int64_t deadline);
RAMET_API int ramet_set_read_deadline(ramet_conn *c, int64_t deadline);
RAMET_API int ramet_set_write_deadline(ramet_conn *c, int64_t deadline);

/* Close, wake waiters with -ECONNABORTED, and drop the caller's reference. Does not park. */
RAMET_API int ramet_close(ramet_conn *c);
RAMET_API int ramet_conn_fd(const ramet_conn *c);

/* Wait until a descriptor of the caller's own is readable or writable. Goroutines only; may park.
 * The events that are ready; -EBADF, -ECANCELED, -ETIMEDOUT, -EAGAIN. */
#define RAMET_READABLE 1
#define RAMET_WRITABLE 2
RAMET_API int ramet_fd_wait(int fd, int events, int64_t deadline);

/* ---------------------------------------------------------------- blocking calls ---- */

/* Run fn(arg) on a thread of the pool; only the calling goroutine waits. Goroutines only (a foreign
 * thread just calls fn); may park. 0 with *result (may be NULL) set; -ECANCELED: fn goes on to its end,
 * and its result is dropped: what arg points to must live that long; -ENOMEM, -EAGAIN if no thread can
 * be had. */
RAMET_API int ramet_blocking(void *(*fn)(void *arg), void *arg, void **result);

/* ---------------------------------------------------------------- seeing ---- */

/* Write every goroutine's id, name, state, what it waits for and for how long. Any thread; does
 * not park. */
RAMET_API int ramet_dump(FILE *out);

#ifdef __cplusplus
}
#endif
#endif
