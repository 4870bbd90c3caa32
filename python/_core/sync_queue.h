/* sync_queue.h: what the two files of ramet.sync's queues share.
 *
 * A queue is closed or open. Closed, its items are in a ring of ours, and the GIL is its lock: nothing that is done to
 * it runs Python code. As in a channel, what is put goes straight to who has waited longest for it, and who has
 * waited longest for room has it the moment there is some. Invariants: n > 0 implies that no getter can be claimed,
 * room implies that no putter can.
 *
 * Open, it is the standard library's algorithm: a container `queue`, a `mutex` and three conditions, which users may
 * lock, look into and notify, and the methods _init, _qsize, _put and _get. A queue is opened, for good, when somebody
 * asks for one of these; it is made open where a subclass has methods of its own under these names, and where _put
 * runs Python code, as the comparisons of a PriorityQueue do. Who waits when it is opened looks again.
 *
 * A waiter's sudog: elem says where a getter wants its item, and is a putter's (a reference goes with it); ok, that it
 * was served. Woken without, it looks again. */
#ifndef RAMET_SYNC_QUEUE_H
#define RAMET_SYNC_QUEUE_H

#include "sync.h"

typedef struct py_queue {
    PyObject_HEAD rm_waitq getters, putters, joiners; /* first: what waits says &getters (sync_object) */
    PyObject **items; /* ring of cap, a power of two */
    size_t cap, head, n;
    Py_ssize_t maxsize, unfinished;
    bool open;
    char is_shutdown; /* what a member of type T_BOOL is */
    uint8_t kind, own;
    PyObject *queue;
    py_mutex *mutex;
    py_cond *not_empty, *not_full, *all_done;
    core_state *st;
    PyObject *dict, *weakrefs;
} py_queue;

_Static_assert(offsetof(py_queue, getters) == sizeof(PyObject), "sync_object");

enum { FIFO, LIFO, PRIORITY }; /* kind */
enum { /* own: methods that a subclass has of its own */
       OWN_INIT = 1,
       OWN_QSIZE = 2,
       OWN_PUT_ = 4,
       OWN_GET_ = 8,
       OWN_HOOKS = 15,
       OWN_PUT = 16,
       OWN_GET = 32,
};
enum { /* core_state.queue: the methods above, in their order, and what else is looked up once */
       Q_INIT,
       Q_QSIZE,
       Q_PUT_,
       Q_GET_,
       Q_PUT,
       Q_GET,
       Q_APPEND,
       Q_POPLEFT,
       Q_POP,
       Q_EMPTY,
       Q_FULL,
       Q_SHUTDOWN,
       Q_DEQUE,
       Q_HEAPPUSH,
       Q_HEAPPOP,
       Q_END
};
_Static_assert(Q_END == CORE_QUEUE_NAMES, "core_state.queue");

rm_inline PyObject *queue_fail(core_state *st, int what) {
    PyErr_SetNone(st->queue[what]);
    return NULL;
}

rm_inline PyObject *queue_too_many(void) {
    PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
    return NULL;
}

rm_inline bool queue_waited_for(const py_queue *self) {
    return self->getters.first || self->putters.first || self->joiners.first;
}

/* sync_queue.c: wake all in q, served or not; empty a closed queue. */
void queue_wake_all(rm_waitq *q, bool served);
void queue_drop_items(py_queue *self);

/* sync_queue_open.c */
int queue_open_up(py_queue *self); /* -1 with an exception */
/* Of an open one; NULL or -1 with an exception. */
PyObject *queue_open_put(py_queue *self, PyObject *item, int64_t deadline);
PyObject *queue_open_get(py_queue *self, int64_t deadline);
PyObject *queue_open_task_done(py_queue *self);
PyObject *queue_open_join(py_queue *self);
int queue_open_shutdown(py_queue *self, bool immediate);
Py_ssize_t queue_open_size(py_queue *self);
/* Methods and attributes; they open it. */
PyObject *queue_init_(py_queue *self, PyObject *maxsize);
PyObject *queue_qsize_(py_queue *self, PyObject *u);
PyObject *queue_put_(py_queue *self, PyObject *item);
PyObject *queue_get_(py_queue *self, PyObject *u);
PyObject *queue_inside(py_queue *self, void *offset);
int queue_set_container(py_queue *self, PyObject *o, void *u);

#endif
