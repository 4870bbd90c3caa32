/* sync_queue.c: ramet.sync's Queue, LifoQueue, PriorityQueue and SimpleQueue: the API of the queue module. See
 * sync_queue.h; this file has what is done to a closed queue, and the types. */
#include "sync_queue.h"

#define KEEP 1024 /* a ring of more is given back when it is empty */

static int look_up(core_state *st, int at, const char *module, const char *name) {
    PyObject *m = module ? PyImport_ImportModule(module) : NULL;
    PyObject *o = m ? PyObject_GetAttrString(m, name) : module ? NULL : PyUnicode_InternFromString(name);
    Py_XDECREF(m);
    if (!o) return -1;
    Py_XSETREF(st->queue[at], o);
    return 0;
}

/* Before the first queue is made: importing ramet imports none of these modules. */
static int look_up_all(core_state *st) {
    static const struct {
        const char *module, *name;
    } what[Q_END] = {
        [Q_INIT] = {NULL, "_init"},
        [Q_QSIZE] = {NULL, "_qsize"},
        [Q_PUT_] = {NULL, "_put"},
        [Q_GET_] = {NULL, "_get"},
        [Q_PUT] = {NULL, "put"},
        [Q_GET] = {NULL, "get"},
        [Q_APPEND] = {NULL, "append"},
        [Q_POPLEFT] = {NULL, "popleft"},
        [Q_POP] = {NULL, "pop"},
        [Q_EMPTY] = {"ramet.sync", "Empty"},
        [Q_FULL] = {"ramet.sync", "Full"},
        [Q_SHUTDOWN] = {"ramet.sync", "ShutDown"},
        [Q_DEQUE] = {"collections", "deque"},
        [Q_HEAPPUSH] = {"heapq", "heappush"},
        [Q_HEAPPOP] = {"heapq", "heappop"},
    };
    if (rm_likely(st->queue[Q_END - 1])) return 0;
    for (int i = 0; i < Q_END; i++)
        if (look_up(st, i, what[i].module, what[i].name)) return -1;
    return 0;
}

/* ------------------------------------------------------------------ closed ---- */

rm_inline bool full(const py_queue *self) { return self->maxsize > 0 && self->n >= (size_t)self->maxsize; }

static int grow(py_queue *self) {
    size_t cap = self->cap ? self->cap * 2 : 8;
    PyObject **items = PyMem_New(PyObject *, cap);
    if (!items) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < self->n; i++) items[i] = self->items[(self->head + i) & (self->cap - 1)];
    PyMem_Free(self->items);
    self->items = items;
    self->cap = cap;
    self->head = 0;
    return 0;
}

/* There is a place; item is stolen. */
rm_inline void push(py_queue *self, PyObject *item) {
    self->items[(self->head + self->n++) & (self->cap - 1)] = item;
    self->unfinished++;
}

static rm_noinline void give_back_ring(py_queue *self) {
    PyMem_Free(self->items);
    self->items = NULL;
    self->cap = self->head = 0;
}

rm_inline PyObject *pop(py_queue *self) {
    PyObject *item;
    self->n--;
    if (rm_likely(self->kind == FIFO)) {
        item = self->items[self->head];
        self->head = (self->head + 1) & (self->cap - 1);
    } else {
        item = self->items[(self->head + self->n) & (self->cap - 1)];
    }
    if (rm_unlikely(!self->n && self->cap > KEEP)) give_back_ring(self);
    return item;
}

/* Empty it. What is dropped may run code that looks at the queue. */
void queue_drop_items(py_queue *self) {
    PyObject **items = self->items;
    size_t cap = self->cap, head = self->head, n = self->n;
    self->items = NULL;
    self->cap = self->head = self->n = 0;
    for (size_t i = 0; i < n; i++) Py_DECREF(items[(head + i) & (cap - 1)]);
    PyMem_Free(items);
}

/* Let in who waits for room. */
static void admit(py_queue *self) {
    for (rm_sudog *s; !full(self) && (s = rm_waitq_claim(&self->putters));) {
        s->ok = self->n < self->cap || grow(self) == 0;
        if (s->ok) push(self, s->elem);
        else PyErr_Clear(); /* it looks again, and fails itself */
        rm_ready(s->g);
    }
}

void queue_wake_all(rm_waitq *q, bool served) {
    for (rm_sudog *s; (s = rm_waitq_claim(q));) {
        s->ok = served;
        rm_ready_tail(s->g->p, s->g);
    }
}

static int wait_in(py_queue *self, rm_waitq *q, rm_sudog *s, rm_g *g, rm_reason reason, int64_t deadline) {
    return rm_wait_in(q, s, false, g, reason, &self->getters, deadline, NULL); /* the GIL is the lock */
}

/* The caller, or NULL if there is no runtime and none is needed, to wait here or to wake somebody. False with an
 * exception. To start the runtime may run anything: look only afterwards. */
static bool caller(const py_queue *self, bool needed, rm_g **g) {
    *g = sync_peek(self->st);
    return *g || !needed || self->open || (*g = core_enter(self->st));
}

/* ------------------------------------------------------------------ put, get ---- */

static rm_noinline PyObject *put_slow(py_queue *self, PyObject *item, int64_t deadline) {
    core_state *st = self->st;
    for (rm_g *g;;) {
        if (!caller(self, self->getters.first || (deadline != RAMET_POLL && full(self)), &g)) return NULL;
        if (self->open) return queue_open_put(self, item, deadline);
        int e = g ? rm_check_cancel_before(g, deadline) : 0;
        if (e) return core_raise(st, g, e);
        if (self->is_shutdown) return queue_fail(st, Q_SHUTDOWN);
        rm_sudog *to = rm_waitq_claim(&self->getters);
        if (to) {
            *(PyObject **)to->elem = Py_NewRef(item);
            to->ok = true;
            self->unfinished++;
            rm_ready(to->g);
            Py_RETURN_NONE;
        }
        if (!full(self)) {
            if (self->n == self->cap && grow(self)) return NULL;
            push(self, Py_NewRef(item));
            Py_RETURN_NONE;
        }
        if (deadline == RAMET_POLL) return queue_fail(st, Q_FULL);
        rm_sudog s = {.elem = Py_NewRef(item)};
        e = wait_in(self, &self->putters, &s, g, RM_R_QUEUE_PUT, deadline);
        if (e == 0 && s.ok) Py_RETURN_NONE;
        Py_DECREF(item);
        if (e == -ETIMEDOUT) return queue_fail(st, Q_FULL);
        if (e) return core_raise(st, g, e);
    }
}

rm_inline PyObject *put(py_queue *self, PyObject *item, int64_t deadline) {
    rm_g *g = sync_peek(self->st);
    bool plain = !self->open && !self->is_shutdown && !self->getters.first && self->n < self->cap && !full(self);
    if (rm_unlikely(!plain || (g && g->cancel))) return put_slow(self, item, deadline);
    push(self, Py_NewRef(item));
    Py_RETURN_NONE;
}

static rm_noinline PyObject *get_slow(py_queue *self, int64_t deadline) {
    core_state *st = self->st;
    for (rm_g *g;;) {
        if (!caller(self, self->putters.first || (deadline != RAMET_POLL && !self->n), &g)) return NULL;
        if (self->open) return queue_open_get(self, deadline);
        int e = g ? rm_check_cancel_before(g, deadline) : 0;
        if (e) return core_raise(st, g, e);
        PyObject *item = NULL;
        if (self->n) {
            item = pop(self);
            admit(self);
            return item;
        }
        if (self->is_shutdown) return queue_fail(st, Q_SHUTDOWN);
        if (deadline == RAMET_POLL) return queue_fail(st, Q_EMPTY);
        rm_sudog s = {.elem = &item};
        e = wait_in(self, &self->getters, &s, g, RM_R_QUEUE_GET, deadline);
        if (e == 0 && s.ok) return item;
        if (e == -ETIMEDOUT) return queue_fail(st, Q_EMPTY);
        if (e) return core_raise(st, g, e);
    }
}

rm_inline PyObject *get(py_queue *self, int64_t deadline) {
    rm_g *g = sync_peek(self->st);
    bool plain = !self->open && self->n && !self->putters.first;
    if (rm_unlikely(!plain || (g && g->cancel))) return get_slow(self, deadline);
    return pop(self);
}

/* block and timeout -> a deadline */
static int block_args(PyObject *block, PyObject *timeout, int64_t *deadline) {
    *deadline = RM_FOREVER;
    int blocks = block ? PyObject_IsTrue(block) : 1;
    if (blocks < 0) return -1;
    if (!blocks) *deadline = RAMET_POLL;
    if (!blocks || !timeout || timeout == Py_None) return 0;
    int64_t ns;
    if (core_duration(timeout, "timeout", &ns)) return -1;
    if (ns < 0) {
        PyErr_SetString(PyExc_ValueError, "'timeout' must be a non-negative number");
        return -1;
    }
    *deadline = ns ? rm_after(ns) : RAMET_POLL;
    return 0;
}

static rm_noinline PyObject *put_args(py_queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"item", "block", "timeout"};
    PyObject *a[3];
    int64_t deadline = RM_FOREVER;
    if (core_args("put", args, nargs, kwnames, names, 1, 3, a)) return NULL;
    if (self->maxsize > 0 && block_args(a[1], a[2], &deadline)) return NULL;
    return put(self, a[0], deadline);
}

static rm_noinline PyObject *get_args(py_queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"block", "timeout"};
    PyObject *a[2];
    int64_t deadline;
    if (core_args("get", args, nargs, kwnames, names, 0, 2, a) || block_args(a[0], a[1], &deadline)) return NULL;
    return get(self, deadline);
}

PyDoc_STRVAR(put_doc, "put($self, item, block=True, timeout=None)\n--\n\nPut item in, waiting for room; Full if there "
                      "is none (in time).\n\nMay park. Any thread. ShutDown; Cancelled, and nothing is put in.");
static PyObject *queue_put(py_queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    if (rm_likely(nargs == 1 && !kwnames)) return put(self, args[0], RM_FOREVER);
    return put_args(self, args, nargs, kwnames);
}

PyDoc_STRVAR(get_doc,
             "get($self, block=True, timeout=None)\n--\n\nTake the next item, waiting for one; Empty if there is none "
             "(in time).\n\nMay park. Any thread. ShutDown; Cancelled, and nothing is taken.");
static PyObject *queue_get(py_queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    if (rm_likely(!nargs && !kwnames)) return get(self, RM_FOREVER);
    return get_args(self, args, nargs, kwnames);
}

static PyObject *queue_put_nowait(py_queue *self, PyObject *item) {
    if (rm_likely(!(self->own & OWN_PUT))) return put(self, item, RAMET_POLL);
    PyObject *args[] = {(PyObject *)self, item, Py_False};
    return PyObject_VectorcallMethod(self->st->queue[Q_PUT], args, 3, NULL);
}

static PyObject *queue_get_nowait(py_queue *self, PyObject *u) {
    (void)u;
    if (rm_likely(!(self->own & OWN_GET))) return get(self, RAMET_POLL);
    return PyObject_CallMethodOneArg((PyObject *)self, self->st->queue[Q_GET], Py_False);
}

/* ------------------------------------------------------------------ the others ---- */

/* How many are in it; -1 with an exception. */
rm_inline Py_ssize_t size(py_queue *self) { return self->open ? queue_open_size(self) : (Py_ssize_t)self->n; }

static PyObject *queue_qsize(py_queue *self, PyObject *u) {
    (void)u;
    Py_ssize_t n = size(self);
    return n < 0 ? NULL : PyLong_FromSsize_t(n);
}

static PyObject *queue_empty(py_queue *self, PyObject *u) {
    (void)u;
    Py_ssize_t n = size(self);
    return n < 0 ? NULL : PyBool_FromLong(n == 0);
}

static PyObject *queue_full(py_queue *self, PyObject *u) {
    (void)u;
    Py_ssize_t n = size(self);
    return n < 0 ? NULL : PyBool_FromLong(self->maxsize > 0 && n >= self->maxsize);
}

PyDoc_STRVAR(task_done_doc,
             "task_done($self)\n--\n\nSay that an item taken is dealt with. ValueError if there were not "
             "so many. Parks only while `mutex` is held.");
static PyObject *queue_task_done(py_queue *self, PyObject *u) {
    (void)u;
    if (self->joiners.first && !core_enter(self->st)) return NULL;
    if (self->open) return queue_open_task_done(self);
    if (self->unfinished <= 0) return queue_too_many();
    if (--self->unfinished == 0) queue_wake_all(&self->joiners, true);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(join_doc,
             "join($self)\n--\n\nWait until all items put in are dealt with. May park. Any thread. Cancelled.");
static PyObject *queue_join(py_queue *self, PyObject *u) {
    (void)u;
    core_state *st = self->st;
    for (rm_g *g;;) {
        if (!caller(self, self->unfinished > 0, &g)) return NULL;
        if (self->open) return queue_open_join(self);
        int e = g ? rm_check_cancel(g) : 0;
        if (e) return core_raise(st, g, e);
        if (self->unfinished <= 0) Py_RETURN_NONE;
        rm_sudog s = {0};
        e = wait_in(self, &self->joiners, &s, g, RM_R_QUEUE_JOIN, RM_FOREVER);
        if (e) return core_raise(st, g, e);
        if (s.ok) Py_RETURN_NONE;
    }
}

static void close_down(py_queue *self, bool immediate) {
    self->is_shutdown = true;
    if (immediate) {
        self->unfinished -= (Py_ssize_t)self->n;
        if (self->unfinished <= 0) {
            self->unfinished = 0;
            queue_wake_all(&self->joiners, true);
        }
    }
    queue_wake_all(&self->getters, false);
    queue_wake_all(&self->putters, false);
    if (immediate) queue_drop_items(self);
}

PyDoc_STRVAR(shutdown_doc, "shutdown($self, immediate=False)\n--\n\nFrom now on put raises ShutDown, and get does once "
                           "it is empty; immediate: empty it, too.\n\nWho waits gets it. Parks only while `mutex` is "
                           "held. Any thread.");
static PyObject *queue_shutdown(py_queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"immediate"};
    PyObject *o = NULL;
    if (core_args("shutdown", args, nargs, kwnames, names, 0, 1, &o)) return NULL;
    int immediate = o ? PyObject_IsTrue(o) : 0;
    if (immediate < 0 || (queue_waited_for(self) && !core_enter(self->st))) return NULL;
    if (!self->open) close_down(self, immediate);
    else if (queue_open_shutdown(self, immediate)) return NULL;
    Py_RETURN_NONE;
}

static int maxsize_of(PyObject *o, Py_ssize_t *n) {
    if (!o || !PyIndex_Check(o)) {
        PyErr_Format(PyExc_TypeError, "maxsize must be an int, not %.100s", o ? Py_TYPE(o)->tp_name : "deleted");
        return -1;
    }
    *n = PyNumber_AsSsize_t(o, NULL);
    return *n == -1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *maxsize_get(py_queue *self, void *u) {
    (void)u;
    return PyLong_FromSsize_t(self->maxsize);
}

static int maxsize_set(py_queue *self, PyObject *o, void *u) {
    (void)u;
    Py_ssize_t n;
    if (maxsize_of(o, &n) || (queue_waited_for(self) && !core_enter(self->st))) return -1;
    self->maxsize = n;
    if (self->open) rm_cond_notify(&self->not_full->c, UINT32_MAX);
    else admit(self);
    return 0;
}

/* ------------------------------------------------------------------ life ---- */

static uint8_t methods_of(core_state *st, PyTypeObject *type) { /* 255 with an exception */
    uint8_t own = 0;
    for (int i = Q_INIT; i <= Q_GET; i++) {
        PyObject *mine = PyObject_GetAttr((PyObject *)type, st->queue[i]);
        PyObject *ours = mine ? PyObject_GetAttr((PyObject *)st->queue_type[FIFO], st->queue[i]) : NULL;
        if (mine != ours) own |= (uint8_t)(1 << i);
        Py_XDECREF(mine);
        Py_XDECREF(ours);
        if (!ours) return 255;
    }
    return own;
}

static PyObject *queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    core_state *st = core_of_type(type);
    if (!st || look_up_all(st)) return NULL;
    uint8_t kind = FIFO, own = 0;
    if (PyType_IsSubtype(type, st->queue_type[LIFO])) kind = LIFO;
    if (PyType_IsSubtype(type, st->queue_type[PRIORITY])) kind = PRIORITY;
    if (type != st->queue_type[kind] && (own = methods_of(st, type)) == 255) return NULL;
    SYNC_NEW(st, type, py_queue);
    self->kind = kind;
    self->own = own;
    if ((kind == PRIORITY || own & OWN_HOOKS) && queue_open_up(self)) Py_CLEAR(self);
    return (PyObject *)self;
}

static int queue_init(py_queue *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"maxsize", NULL};
    PyObject *maxsize = NULL;
    Py_ssize_t n = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Queue", names, &maxsize)) return -1;
    if (maxsize && maxsize_of(maxsize, &n)) return -1;
    if (queue_waited_for(self) && !core_enter(self->st)) return -1; /* not the first time */
    self->maxsize = n;
    self->unfinished = 0;
    self->is_shutdown = false;
    if (!self->open) {
        queue_drop_items(self);
        admit(self);
        return 0;
    }
    if (!(self->own & OWN_INIT)) {
        PyObject *r = queue_init_(self, NULL);
        Py_XDECREF(r);
        return r ? 0 : -1;
    }
    PyObject *o = PyLong_FromSsize_t(n);
    PyObject *r = o ? PyObject_CallMethodOneArg((PyObject *)self, self->st->queue[Q_INIT], o) : NULL;
    Py_XDECREF(o);
    Py_XDECREF(r);
    return r ? 0 : -1;
}

static PyObject *simple_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    core_state *st = sync_no_args(type, args, kwargs, "SimpleQueue");
    if (!st || look_up_all(st)) return NULL;
    SYNC_NEW(st, type, py_queue);
    return (PyObject *)self;
}

static int queue_traverse(py_queue *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    for (size_t i = 0; i < self->n; i++) Py_VISIT(self->items[(self->head + i) & (self->cap - 1)]);
    Py_VISIT(self->queue);
    Py_VISIT(self->mutex);
    Py_VISIT(self->not_empty);
    Py_VISIT(self->not_full);
    Py_VISIT(self->all_done);
    Py_VISIT(self->dict);
    return 0;
}

static int
queue_clear(py_queue *self) { /* mutex and conditions stay: an open queue has them; and they refer to nothing */
    queue_drop_items(self);
    if (self->queue) Py_SETREF(self->queue, Py_NewRef(Py_None));
    Py_CLEAR(self->dict);
    return 0;
}

static void queue_dealloc(py_queue *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, queue_dealloc); /* queues of queues of queues */
    core_clear_weakrefs((PyObject *)self, &self->weakrefs);
    queue_clear(self);
    Py_CLEAR(self->queue);
    Py_CLEAR(self->mutex);
    Py_CLEAR(self->not_empty);
    Py_CLEAR(self->not_full);
    Py_CLEAR(self->all_done);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END;
}

/* ------------------------------------------------------------------ tables ---- */

#define QSIZE_DOC "qsize($self)\n--\n\nHow many are in it. Parks only while `mutex` is held. Any thread."
#define EMPTY_DOC "empty($self)\n--\n\nWhether it is empty just now. Parks only while `mutex` is held. Any thread."
#define FULL_DOC "full($self)\n--\n\nWhether it is full just now. Parks only while `mutex` is held. Any thread."
#define COMMON_METHODS                                                                                                 \
    FAST("put", queue_put, FASTCALL_KW, put_doc), FAST("get", queue_get, FASTCALL_KW, get_doc),                        \
        {"put_nowait", (PyCFunction)queue_put_nowait, METH_O,                                                          \
         "put_nowait($self, item, /)\n--\n\nput(item, block=False)."},                                                 \
        {"get_nowait", (PyCFunction)queue_get_nowait, METH_NOARGS, "get_nowait($self)\n--\n\nget(block=False)."},      \
        {"qsize", (PyCFunction)queue_qsize, METH_NOARGS, QSIZE_DOC},                                                   \
        {"empty", (PyCFunction)queue_empty, METH_NOARGS, EMPTY_DOC},                                                   \
        {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "Queue[int] for annotations."}
static PyMethodDef queue_methods[] = {
    COMMON_METHODS,
    {"full", (PyCFunction)queue_full, METH_NOARGS, FULL_DOC},
    {"task_done", (PyCFunction)queue_task_done, METH_NOARGS, task_done_doc},
    {"join", (PyCFunction)queue_join, METH_NOARGS, join_doc},
    FAST("shutdown", queue_shutdown, FASTCALL_KW, shutdown_doc),
    {"_init", (PyCFunction)queue_init_, METH_O, NULL},
    {"_qsize", (PyCFunction)queue_qsize_, METH_NOARGS, NULL},
    {"_put", (PyCFunction)queue_put_, METH_O, NULL},
    {"_get", (PyCFunction)queue_get_, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyMethodDef simple_methods[] = {COMMON_METHODS, {NULL, NULL, 0, NULL}};

#define INSIDE(name, field, set, doc) {name, (getter)queue_inside, set, doc, (void *)offsetof(py_queue, field)}
static PyGetSetDef queue_getset[] = {
    {"maxsize", (getter)maxsize_get, (setter)maxsize_set, "How many it takes; 0 or less: any number.", NULL},
    INSIDE("queue", queue, (setter)queue_set_container, "The container of its items. Slower from then on."),
    INSIDE("mutex", mutex, NULL, "The lock of an open queue."),
    INSIDE("not_empty", not_empty, NULL, "The condition of those that get."),
    INSIDE("not_full", not_full, NULL, "The condition of those that put."),
    INSIDE("all_tasks_done", all_done, NULL, "The condition of those that join."),
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef queue_members[] = {
    {"unfinished_tasks", T_PYSSIZET, offsetof(py_queue, unfinished), 0, "Items that task_done() was not called for."},
    {"is_shutdown", T_BOOL, offsetof(py_queue, is_shutdown), 0, "Whether shutdown() was called."},
    {"__dictoffset__", T_PYSSIZET, offsetof(py_queue, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_queue, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyMemberDef simple_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_queue, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

#define LIFE                                                                                                           \
    {Py_tp_traverse, queue_traverse}, {Py_tp_clear, queue_clear}, { Py_tp_dealloc, queue_dealloc }
#define KIND_SLOTS(doc)                                                                                                \
    {                                                                                                                  \
        {Py_tp_doc, doc}, {Py_tp_new, queue_new}, {Py_tp_init, queue_init}, LIFE, { 0, NULL }                          \
    }
static PyType_Slot queue_slots[] = {
    {Py_tp_doc, "Queue(maxsize=0)\n--\n\nqueue.Queue's API, shutdown() included on every version; in order; between "
                "goroutines and OS threads."},
    {Py_tp_new, queue_new},
    {Py_tp_init, queue_init},
    LIFE,
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_members, queue_members},
    {0, NULL},
};
static PyType_Slot lifo_slots[] = KIND_SLOTS("LifoQueue(maxsize=0)\n--\n\nqueue.LifoQueue's API: the latest first.");
static PyType_Slot priority_slots[] =
    KIND_SLOTS("PriorityQueue(maxsize=0)\n--\n\nqueue.PriorityQueue's API: the lowest first.");
static PyType_Slot simple_slots[] = {
    {Py_tp_doc, "SimpleQueue()\n--\n\nqueue.SimpleQueue's API: no bound, no tasks; put never waits."},
    {Py_tp_new, simple_new},
    LIFE,
    {Py_tp_methods, simple_methods},
    {Py_tp_members, simple_members},
    {0, NULL},
};
#define QUEUE_SPEC(name, slots)                                                                                        \
    {"ramet.sync." name, sizeof(py_queue), 0,                                                                          \
     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE, slots}
static PyType_Spec specs[] = {
    [FIFO] = QUEUE_SPEC("Queue", queue_slots),
    [LIFO] = QUEUE_SPEC("LifoQueue", lifo_slots),
    [PRIORITY] = QUEUE_SPEC("PriorityQueue", priority_slots),
};
static PyType_Spec simple_spec = QUEUE_SPEC("SimpleQueue", simple_slots);

int sync_queue_init(PyObject *module, core_state *st) {
    for (int i = FIFO; i <= PRIORITY; i++) {
        PyObject *base = i == FIFO ? NULL : (PyObject *)st->queue_type[FIFO];
        st->queue_type[i] = (PyTypeObject *)core_type(module, &specs[i], base);
        if (!st->queue_type[i] || PyModule_AddType(module, st->queue_type[i])) return -1;
    }
    PyTypeObject *simple = (PyTypeObject *)core_type(module, &simple_spec, NULL);
    int e = !simple || PyModule_AddType(module, simple);
    Py_XDECREF(simple);
    return e ? -1 : 0;
}
