/* core.h: what the files of the extension share: the state of the module, the objects, and how a
 * Python function finds its goroutine and turns an error number into an exception.
 *
 * One state an interpreter, one runtime a state. Objects keep a plain pointer to their state: their type keeps
 * the module alive. Everything here needs the GIL, or the owner lock (owned.h) where there is none.
 *
 * Rules for every function that may park: check arguments first; hold a strong reference to all that is
 * used after the park; no borrowed reference and no thread-local lives across it. */
#ifndef RAMET_CORE_H
#define RAMET_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <pthread.h>

#include "blocking.h"
#include "chan.h"
#include "dump.h"
#include "netpoll.h"
#include "owned.h"
#include "rt.h"
#include "select.h"
#include "sysmon.h"

typedef struct core_state core_state;

/* For a deallocator. Without a GIL another thread may just be taking the last one off the list. */
rm_inline void core_clear_weakrefs(PyObject *self, PyObject **list) {
    if (rm_unlikely(rm_load_acq(list))) PyObject_ClearWeakRefs(self);
}

/* A handle. The goroutine does not need it: it is made for whoever asks, and finds back by g and id. */
typedef struct py_goroutine {
    PyObject_HEAD core_state *st;
    rm_g *g;             /* NULL once done */
    uint64_t id;
    PyObject *outcome;   /* done: the result, or the exception */
    PyObject *name;      /* str, or NULL: "goroutine-N" */
    PyObject *done_chan; /* Chan closed at the end, made by if_done; or NULL */
    PyObject *weakrefs;
    rm_pyplace born;     /* of one that has raised: where go() was called */
    uint8_t status;      /* GO_* */
    bool collected;      /* somebody has seen how it ended */
    bool finalized;      /* its finalizer has run, by a collection perhaps while the goroutine is alive */
} py_goroutine;
enum { GO_ALIVE = 0, GO_RETURNED, GO_RAISED, GO_CANCELLED };

/* bits of rm_g.embed.pyflags that are ours. Its own thread changes them without the owner lock, too: others, and it then,
 * do so atomically. */
enum {
    PYF_OWNS_HANDLE = 1 << 8, /* the goroutine holds a reference to its handle: it has a name or a done_chan */
    PYF_COLLECTED = 1 << 9,   /* somebody has taken care of how it fails */
    PYF_LEAKED = 1 << 10,     /* has been cancelled because nobody can wake it, and does not know yet */
    PYF_LEAK_TOLD = 1 << 11,  /* it has reported that */
    PYF_ENDS = 1 << 12,       /* what it holds is being dropped */
    PYF_NO_PREEMPT = 1 << 16, /* one no_preempt() block that it is in: the upper half is their number */
};

typedef struct py_chan {
    PyObject_HEAD rm_chan c;
    core_state *st;
    PyObject *name;
    PyObject *owner; /* what keeps filling it, and lives as long: a timer; or NULL */
    PyObject *weakrefs;
} py_chan;

/* A select case, or (CASE_DEFAULT) default. Immutable. */
typedef struct py_case {
    PyObject_HEAD uint8_t kind;     /* CASE_* */
    int fd;
    PyObject *source; /* Chan, Goroutine, or what readable() was given */
    PyObject *value;  /* what to send */
} py_case;
enum { CASE_RECV, CASE_SEND, CASE_DONE, CASE_SET, CASE_READABLE, CASE_WRITABLE, CASE_DEFAULT };

/* A select() under way: arguments and cases go together. */
typedef struct py_select {
    core_state *st;
    rm_g *g;
    PyObject *const *args;
    Py_ssize_t n;
    Py_ssize_t default_at; /* -1: none */
    int nfds;
    int nsets; /* cases that hold their event's channel */
    rm_case *cases;
    uintptr_t *words; /* what they send, or receive */
    struct fd_case *fds;
} py_select;

struct core_state {
    rm_rt *rt;               /* NULL before first use and after shutdown */
    rm_rt *entry;            /* the same, but NULL in the child of a fork until it is the child's own */
    PyThreadState *tstate;   /* the proc's */
    PyInterpreterState *interp;
    bool sub;                /* it is not the main one: always hosted */
    core_state *next;        /* subinterpreter.c */
    bool ending;
    rm_post stop_post;
    PyObject *module;        /* borrowed: it owns us */
    bool closed;             /* shut down: nothing may start any more */
    bool stopping;           /* the hosted runtime is to end */
    bool forked;             /* in a forked child: what was dropped may be referred to */
    bool collects;           /* and automatically, when the forks are over */
    int forking;             /* forks that are under way */
    bool in_run;
    bool run_waits;          /* main waits for all the others */
    bool hosted;             /* the proc lives on a thread of ours */
    bool starting;
    bool doubt_reported;     /* the report of what may be a deadlock has been printed */
    bool doubt_settled;      /* this wait of all may be one, and that is that until somebody has run */
    uint64_t doubt_switches; /* how many there had been then; 0: not seen yet */
    int64_t doubt_since, doubt_asked;
    pthread_t host_thread;
    bool blocked_reported;   /* ... and of main blocking outside */
    bool yellow_asked;       /* atomic: yellow.c's pending call is on its way */
    int64_t hog_ns;          /* atomic: report who keeps the proc for so long (0: nobody) */
    uint64_t hog_told;       /* the switches + 1 at the last report */
    size_t stack_size;       /* options, before first use */
    unsigned max_threads;
    uint64_t seed;
    PyObject *main_exc;      /* to be raised in main */
    PyObject *timers;        /* in a forked child: list of the parent's that go on once there is a runtime; or NULL */
    rm_m *main_m;            /* the main thread's, where the proc is hosted and it has been in ramet */
    /* preempt.c */
    int64_t slice;           /* option: ns; 0: goroutines are not preempted */
    int preempt_signal;      /* 0: none installed */
    uint32_t preempt_asked;  /* atomic: sysmon has tripped it, and the handler has not run */
    uint32_t preempt_again;  /* sysmon's: how often it has left it at that */
    uint64_t preempt_for;    /* atomic: who is meant: the switch it runs since */
    uint64_t preempt_put_off_for;  /* likewise: for whom it has been put off, */
    int64_t preempt_put_off_since; /* since when, */
    unsigned preempt_put_off;      /* for how many slices, */
    int64_t preempt_looking;       /* and how long we have been looking whether a lock is held still */
    int64_t preempt_looked;        /* sysmon's: when it looked who blocks the thread, */
    uint64_t lock_waiter;          /* who did, for a lock (its id), */
    int64_t lock_since, lock_back; /* since when, and when it was last let do so */
    PyObject *lock_names[5], *lock_type; /* locks.c's */
    PyObject *preempt_handler, *import_locked, *raw_io;
    PyTypeObject *no_preempt_type;
    int leaks_off;           /* nonzero: those that are found are let alone: all end, or are only looked at */
    int64_t leaks_next;      /* when to look for leaked ones again, at the earliest */
    /* types */
    PyTypeObject *goroutine_type, *chan_type, *case_type, *selection_type, *bomb_type;
    PyTypeObject *conn_type, *listener_type, *packet_type;
    PyTypeObject *stopper_type; /* owned.c; made when it is needed */
    PyTypeObject *mutex_type, *rlock_type, *cond_type, *event_type, *scope_type, *timer_type, *ticker_type;
    PyTypeObject *queue_type[3]; /* Queue, LifoQueue, PriorityQueue */
#define CORE_QUEUE_NAMES 15
    PyObject *queue[CORE_QUEUE_NAMES]; /* what sync_queue.c has looked up */
    char *net_scratch;       /* net.c: where reads go first */
    PyObject *default_case;
    PyObject *free_selections[8]; /* dead ones to be used again: see select.c */
    int nfree_selections;
    PyObject *free_scopes[8]; /* likewise: scope.c */
    int nfree_scopes;
    /* exceptions */
    PyObject *RametError, *ChannelError, *ChanClosed, *WouldBlock, *PanicError, *DeadlockError;
    PyObject *GoroutineCancelled, *Cancelled, *ErrClosed, *IncompleteRead, *LimitExceeded;
    PyObject *str_excepthook, *str_ramet, *str_direct, *str_pending;
    PyObject *ssl[6]; /* net_tls.c: what it needs of the ssl module, once it needs it */
};

rm_inline core_state *core_of(PyObject *module) { return (core_state *)PyModule_GetState(module); }
/* Of a type of ours or a class derived from it. NULL with an exception. */
core_state *core_of_type(PyTypeObject *type);

/* The calling goroutine (or what stands for this OS thread), the runtime made if need be. NULL with an
 * exception. */
rm_g *core_enter_slow(core_state *st);
rm_inline rm_g *core_enter(core_state *st) {
    rm_m *m = rm_tls;
    if (rm_likely(m && m->rt == st->entry && m->p)) return m->p->cur;
    return core_enter_slow(st);
}
/* The same, but only a goroutine (main included) will do: RuntimeError "{what} ..." in another OS thread. */
rm_g *core_enter_goroutine_slow(core_state *st, const char *what);
/* The same, but the main thread will do also where it is a foreign one, the proc being hosted (then g->p is NULL); in a
 * subinterpreter, which any thread may run, every thread. */
rm_g *core_enter_main_too(core_state *st, const char *what);
bool host_in_main_thread(core_state *st); /* of the main interpreter */
rm_inline rm_g *core_enter_goroutine(core_state *st, const char *what) {
    rm_m *m = rm_tls;
    if (rm_likely(m && m->rt == st->entry && m->p)) return m->p->cur;
    return core_enter_goroutine_slow(st, what);
}

/* Set the exception for a negative errno of the core; returns NULL. `g`: the caller. */
PyObject *core_raise(core_state *st, rm_g *g, int code);

/* The exception that is set, as one object, none being set then; NULL if there is none. And the way back (stolen). */
PyObject *core_take_exception(void);
void core_put_exception(PyObject *exc);

/* timeout argument (None, seconds) -> deadline. -1 with an exception that names `arg`. */
int core_deadline(PyObject *timeout, const char *arg, int64_t *deadline);
/* seconds -> ns, saturating; negative stays negative. -1 with an exception. */
int core_duration(PyObject *seconds, const char *arg, int64_t *ns);
/* The one optional argument `timeout` -> deadline. -1 with an exception. */
int core_timeout_arg(const char *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int64_t *deadline);
/* Match fast-call keywords: out[i] (borrowed, NULL if absent) for names[i], positional first. `required` of them
 * must be there. -1 with an exception. */
int core_args(const char *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, const char *const *names,
              int required, int n, PyObject **out);

/* To drop o may drop what drops what drops ...: Py_TRASHCAN_BEGIN is worth its 4 ns. */
rm_inline bool core_nests(PyObject *o) { return o && PyType_IS_GC(Py_TYPE(o)); }

/* Raise exc (stolen) in main, at its current or next wait. */
void core_raise_in_main(core_state *st, PyObject *exc);
/* Describe an exception nobody will see. exc is kept by the caller. */
void core_call_excepthook(core_state *st, PyObject *goroutine, PyObject *exc);

/* one file a type */
int goroutine_init(PyObject *module, core_state *st);
int chan_init(PyObject *module, core_state *st);
int select_init(PyObject *module, core_state *st);
void select_clear(core_state *st);
int blocking_init(PyObject *module, core_state *st);
void blocking_thread_ends(rm_rt *rt);
int net_init(PyObject *module, core_state *st);
int scope_init(PyObject *module, core_state *st);
void scope_clear(core_state *st);
int timer_init(PyObject *module, core_state *st);
int sync_init(PyObject *module, core_state *st);
int debug_init(PyObject *module, core_state *st);
int leaks_init(PyObject *module, core_state *st);
/* g has been cancelled because nobody could wake it: say so, once. On g, right after its wait. */
void leaks_report(core_state *st, rm_g *g);
int preempt_init(PyObject *module, core_state *st);
int preempt_traverse(core_state *st, visitproc visit, void *arg);
void preempt_clear(core_state *st);
/* In the main thread, which is the proc: from now on its goroutines have slices. -1 with an exception. */
int preempt_start(core_state *st);
/* The signal that is used, while our handler is there; or 0. */
int preempt_installed(const core_state *st);
/* locks.c: whether the frame shows a lock that knows OS threads only. place: of the instruction; self: the first argument. */
int locks_setup(core_state *st);
int locks_traverse(core_state *st, visitproc visit, void *arg);
void locks_clear(core_state *st);
bool locks_held(core_state *st, struct _PyInterpreterFrame *f, int place, PyObject *self);
/* Whether the innermost frame calls a lock to acquire it, or has done so just now. */
bool locks_awaited(core_state *st, struct _PyInterpreterFrame *f);
/* rm_hooks.preempt */
void preempt_ask(rm_rt *rt, uint64_t switches, bool oncpu);

/* timer.c: in a forked child: rt's timers are stopped, and some kept for when there is a runtime. Sets an exception. */
void timers_fork(core_state *st, rm_rt *rt);
int timers_resume(core_state *st); /* there is one */

/* time.time() */
double core_wall_time(void);
/* Start a goroutine that calls fn(), `context` (may be NULL) stolen. Makes no object: the loop may call it. 0 or -1
 * (no exception). */
int goroutine_spawn(core_state *st, PyObject *fn, PyObject *context, rm_pyplace born);
/* g ends: leave what scopes it has not left itself. */
void scope_unwind(rm_g *g);
/* What of ramet.sync has w, its part of the core, right behind its head: all have. Borrowed. */
rm_inline PyObject *sync_object(const void *w) { return (PyObject *)((char *)w - sizeof(PyObject)); }
/* Whether o is a Conn that holds bytes which have been read from the system. */
bool net_has_buffered(core_state *st, PyObject *o);
/* Chan closed while the Event is set; borrowed. */
py_chan *event_chan(PyObject *event);

py_goroutine *goroutine_handle(core_state *st, rm_g *g); /* new reference; g alive */
/* In a forked child: g is not there any more. Its handle says cancelled; the channel that is to be closed once nobody
 * can be woken wrongly goes to the list. -1 with an exception. */
int goroutine_lost(core_state *st, rm_g *g, PyObject *to_close);
/* At exit: main's control block goes with the runtime, a handle that somebody has kept does not. Nobody waiting for
 * main is woken: nothing could run. */
void goroutine_main_ends(rm_g *g);
/* Chan closed when the goroutine ends; borrowed. */
py_chan *goroutine_done_chan(py_goroutine *self);
py_chan *chan_new(core_state *st, Py_ssize_t capacity);
PyObject *case_new(core_state *st, int kind, PyObject *source, PyObject *value, int fd);
/* What was received: v stolen; an exception sent by send_exception is raised (NULL). */
PyObject *chan_unwrap(core_state *st, PyObject *v);
rm_inline bool chan_check(core_state *st, PyObject *o) {
    return Py_TYPE(o) == st->chan_type || PyObject_TypeCheck(o, st->chan_type);
}

int greenlets_init(PyObject *module);

/* host.c: the runtime's life inside the interpreter */
int host_start(core_state *st);             /* make st->rt; -1 with an exception */
PyObject *host_shutdown(core_state *st);    /* at exit: unwind, stop, free */
/* Once a process; outside: main, and outside ramet. */
void host_report_blocked(core_state *st, rm_g *g, int64_t ns, bool outside);
extern const rm_hooks host_hooks;
/* What of the prompt's is installed. */
enum { HOST_INPUT_HOOK = 1, HOST_INPUT_HOOK_BEHIND = 2, HOST_INTERRUPTER = 4 };
int host_prompt_installed(const core_state *st);

void host_stop(core_state *st); /* on the proc, or with the GIL: have the hosted runtime end */

/* fork.c */
/* Have the child looked after; before there is a runtime, because another thread may fork at any time. -1 with an exception. */
int fork_watch(core_state *st);
/* Have handler() called in the child, as number `at`. -1 with an exception. */
int fork_handler(core_state *st, Py_ssize_t at, PyObject *handler);
void fork_unwatch(core_state *st);
void fork_begins(core_state *st);
void fork_over(core_state *st, bool in_child);
int fork_renew(core_state *st); /* in the child: once, and then nothing. -1 with an exception */
PyObject *fork_in_child(core_state *st); /* the handler */
void fork_proc_ends(rm_rt *rt); /* rm_hooks.proc_thread_ends */
/* The function of the goroutine that a child was forked in has returned: the process ends. */
_Noreturn void fork_exit(core_state *st, rm_g *g, int exit_code);

/* subinterpreter.c: sets st->sub; -1 with an exception where ramet does not run. */
int sub_init(core_state *st);
void sub_started(core_state *st); /* its runtime runs */
/* It is to end. False: somebody else has ended it meanwhile. */
bool sub_take(core_state *st);

/* debug.c: (handle, wait info, frames) as they were during the wait that g has just left. */
PyObject *debug_as_waiting(core_state *st, rm_g *g);
/* On sysmon's thread, as rm_hooks.hog */
int64_t debug_hog(core_state *st, rm_rt *rt, uint64_t switches, int64_t ns, bool oncpu);

#endif
