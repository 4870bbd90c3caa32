/* sync_queue_open.c: an open queue (see sync_queue.h): how it is opened, and the standard library's algorithm. Nothing that
 * is called while the mutex is held may be trusted: it may be a user's. */
#include "sync_queue.h"

/* ------------------------------------------------------------------ opening ---- */

static PyObject *container(const py_queue *self) {
    return self->kind == FIFO ? PyObject_CallNoArgs(self->st->queue[Q_DEQUE]) : PyList_New(0);
}

/* New reference. */
static PyObject *items_of(const py_queue *self) {
    PyObject *list = NULL;
    do Py_XSETREF(list, PyList_New((Py_ssize_t)self->n));
    while (list && PyList_GET_SIZE(list) != (Py_ssize_t)self->n); /* a collection has come between */
    for (size_t i = 0; list && i < self->n; i++)
        PyList_SET_ITEM(list, (Py_ssize_t)i, Py_NewRef(self->items[(self->head + i) & (self->cap - 1)]));
    return list;
}

static bool still_has(const py_queue *self, PyObject *list) {
    bool same = PyList_GET_SIZE(list) == (Py_ssize_t)self->n;
    for (size_t i = 0; same && i < self->n; i++)
        same = PyList_GET_ITEM(list, (Py_ssize_t)i) == self->items[(self->head + i) & (self->cap - 1)];
    return same;
}

static void open_with(py_queue *self, PyObject *queue, PyObject *mutex, PyObject *const *cond) { /* all stolen */
    self->queue = queue;
    self->mutex = (py_mutex *)mutex;
    self->not_empty = (py_cond *)cond[0];
    self->not_full = (py_cond *)cond[1];
    self->all_done = (py_cond *)cond[2];
    self->open = true;
    queue_wake_all(&self->getters, false);
    queue_wake_all(&self->putters, false);
    queue_wake_all(&self->joiners, false);
    queue_drop_items(self); /* the container has them */
}

/* Finalizers and other threads may use the queue while the parts are made. 1: they have, and it is to be done again. */
static int make_open(py_queue *self) {
    core_state *st = self->st;
    PyObject *items = items_of(self), *queue = NULL, *mutex = NULL, *cond[3] = {NULL};
    if (items) queue = self->kind == FIFO ? PyObject_CallOneArg(st->queue[Q_DEQUE], items) : Py_NewRef(items);
    if (queue) mutex = PyObject_CallNoArgs((PyObject *)st->mutex_type);
    bool ok = mutex != NULL;
    for (int i = 0; ok && i < 3; i++) ok = (cond[i] = PyObject_CallOneArg((PyObject *)st->cond_type, mutex)) != NULL;
    bool alone = ok && !self->open && still_has(self, items);
    if (alone) {
        open_with(self, queue, mutex, cond);
    } else {
        Py_XDECREF(queue);
        Py_XDECREF(mutex);
        for (int i = 0; i < 3; i++) Py_XDECREF(cond[i]);
    }
    Py_XDECREF(items);
    return ok ? !self->open : -1;
}

int queue_open_up(py_queue *self) {
    if (rm_likely(self->open)) return 0;
    if (queue_waited_for(self) && !core_enter(self->st)) return -1;
    if (self->open) return 0;
    int e;
    while ((e = make_open(self)) > 0) continue;
    return e;
}

/* ------------------------------------------------------------------ locked ---- */

static int lock(py_queue *self) {
    core_state *st = self->st;
    if (rm_likely(sync_take_free(st, &self->mutex->m))) return 0;
    rm_g *g = core_enter(st);
    int e = g ? rm_mutex_lock(&self->mutex->m, g, RM_FOREVER) : 0;
    if (e) core_raise(st, g, e);
    return g && !e ? 0 : -1;
}

static void unlock(py_queue *self) { rm_mutex_unlock(&self->mutex->m); }

/* What _put, _get and _qsize do unless a subclass has its own. */
static PyObject *put_in(py_queue *self, PyObject *item) {
    core_state *st = self->st;
    PyObject *queue = Py_NewRef(self->queue), *args[] = {queue, item};
    PyObject *r = self->kind == PRIORITY ? PyObject_Vectorcall(st->queue[Q_HEAPPUSH], args, 2, NULL)
                                         : PyObject_CallMethodOneArg(queue, st->queue[Q_APPEND], item);
    Py_DECREF(queue);
    return r;
}

static PyObject *take_out(py_queue *self) {
    core_state *st = self->st;
    PyObject *queue = Py_NewRef(self->queue);
    PyObject *r = self->kind == PRIORITY
                      ? PyObject_CallOneArg(st->queue[Q_HEAPPOP], queue)
                      : PyObject_CallMethodNoArgs(queue, st->queue[self->kind == FIFO ? Q_POPLEFT : Q_POP]);
    Py_DECREF(queue);
    return r;
}

/* The methods: a subclass's, or ours. Locked. */
static int call_put(py_queue *self, PyObject *item) {
    PyObject *name = self->st->queue[Q_PUT_];
    PyObject *r = self->own & OWN_PUT_ ? PyObject_CallMethodOneArg((PyObject *)self, name, item) : put_in(self, item);
    Py_XDECREF(r);
    return r ? 0 : -1;
}

static PyObject *call_get(py_queue *self) {
    return self->own & OWN_GET_ ? PyObject_CallMethodNoArgs((PyObject *)self, self->st->queue[Q_GET_]) : take_out(self);
}

static Py_ssize_t call_qsize(py_queue *self) { /* -1 with an exception */
    if (!(self->own & OWN_QSIZE)) return PyObject_Size(self->queue);
    PyObject *r = PyObject_CallMethodNoArgs((PyObject *)self, self->st->queue[Q_QSIZE]);
    if (!r) return -1;
    Py_ssize_t n = PyNumber_AsSsize_t(r, NULL);
    Py_DECREF(r);
    return n < 0 && !PyErr_Occurred() ? 0 : n;
}

/* Wait, locked, for an item or for room: 0, or -1 with an exception. */
static int wait_for(py_queue *self, bool getting, int64_t deadline) {
    core_state *st = self->st;
    for (bool late = deadline == RAMET_POLL;;) {
        bool ready = true;
        if (!getting && self->is_shutdown) goto shut_down;
        if (getting || self->maxsize > 0) {
            Py_ssize_t n = call_qsize(self);
            if (n < 0) return -1;
            ready = getting ? n > 0 : n < self->maxsize || self->maxsize <= 0;
        }
        if (ready) return 0;
        if (self->is_shutdown) goto shut_down;
        if (late) {
            queue_fail(st, getting ? Q_EMPTY : Q_FULL);
            return -1;
        }
        py_cond *cond = getting ? self->not_empty : self->not_full;
        rm_g *g = core_enter(st);
        int r = g ? sync_cond_wait(cond, g, deadline) : -1;
        if (r < 0) return -1; /* a notification that came with it has gone to the next */
        late = r == 0;
    }
shut_down:
    queue_fail(st, Q_SHUTDOWN);
    return -1;
}

PyObject *queue_open_put(py_queue *self, PyObject *item, int64_t deadline) {
    if (lock(self)) return NULL;
    bool ok = !wait_for(self, false, deadline) && !call_put(self, item);
    if (ok) {
        self->unfinished++;
        rm_cond_notify(&self->not_empty->c, 1);
    }
    unlock(self);
    return ok ? Py_NewRef(Py_None) : NULL;
}

PyObject *queue_open_get(py_queue *self, int64_t deadline) {
    if (lock(self)) return NULL;
    PyObject *item = wait_for(self, true, deadline) ? NULL : call_get(self);
    if (item) rm_cond_notify(&self->not_full->c, 1);
    unlock(self);
    return item;
}

PyObject *queue_open_task_done(py_queue *self) {
    if (lock(self)) return NULL;
    bool ok = self->unfinished > 0;
    if (ok && --self->unfinished == 0) rm_cond_notify(&self->all_done->c, UINT32_MAX);
    unlock(self);
    return ok ? Py_NewRef(Py_None) : queue_too_many();
}

PyObject *queue_open_join(py_queue *self) {
    if (lock(self)) return NULL;
    int r = 1;
    while (r > 0 && self->unfinished > 0) {
        rm_g *g = core_enter(self->st);
        r = g ? sync_cond_wait(self->all_done, g, RM_FOREVER) : -1;
    }
    unlock(self);
    return r > 0 ? Py_NewRef(Py_None) : NULL;
}

int queue_open_shutdown(py_queue *self, bool immediate) {
    Py_ssize_t n = 0;
    if (lock(self)) return -1;
    self->is_shutdown = true;
    while (immediate && (n = call_qsize(self)) > 0) {
        PyObject *item = call_get(self);
        if (!item) {
            n = -1;
            break;
        }
        Py_DECREF(item);
        if (self->unfinished > 0) self->unfinished--;
    }
    if (immediate && !self->unfinished) rm_cond_notify(&self->all_done->c, UINT32_MAX);
    rm_cond_notify(&self->not_empty->c, UINT32_MAX);
    rm_cond_notify(&self->not_full->c, UINT32_MAX);
    unlock(self);
    return n < 0 ? -1 : 0;
}

Py_ssize_t queue_open_size(py_queue *self) {
    if (lock(self)) return -1;
    Py_ssize_t n = call_qsize(self);
    unlock(self);
    return n;
}

/* ------------------------------------------------------------------ the inside ---- */

PyObject *queue_init_(py_queue *self, PyObject *maxsize) {
    (void)maxsize;
    if (queue_open_up(self)) return NULL;
    PyObject *empty = container(self);
    if (!empty) return NULL;
    Py_SETREF(self->queue, empty);
    Py_RETURN_NONE;
}
PyObject *queue_qsize_(py_queue *self, PyObject *u) {
    (void)u;
    Py_ssize_t n = queue_open_up(self) ? -1 : PyObject_Size(self->queue);
    return n < 0 ? NULL : PyLong_FromSsize_t(n);
}
PyObject *queue_put_(py_queue *self, PyObject *item) { return queue_open_up(self) ? NULL : put_in(self, item); }
PyObject *queue_get_(py_queue *self, PyObject *u) {
    (void)u;
    return queue_open_up(self) ? NULL : take_out(self);
}

PyObject *queue_inside(py_queue *self, void *offset) {
    return queue_open_up(self) ? NULL : Py_NewRef(*(PyObject **)((char *)self + (uintptr_t)offset));
}

int queue_set_container(py_queue *self, PyObject *o, void *u) {
    (void)u;
    if (!o) {
        PyErr_SetString(PyExc_AttributeError, "queue cannot be deleted");
        return -1;
    }
    if (queue_open_up(self)) return -1;
    Py_SETREF(self->queue, Py_NewRef(o));
    return 0;
}
