/* overflow.c: SIGSEGV and SIGBUS on scheduler threads: an overflow of a goroutine's stack is dealt with by the
 * embedder, or named before the process dies.
 *
 * The handler runs on an alternate stack. It is an overflow if the fault lies in the guard of the goroutine that
 * runs on this thread, or of one that is just being switched from (the proc names the next one then, but the stack
 * pointer is still there), or if a frame wider than the guard has carried the stack pointer off the stack. If it is
 * not, whoever handled the signal before gets it. Nothing there allocates or locks.
 *
 * Whoever installs a handler after us (faulthandler) is put behind us at sysmon's next tick, by one of our handlers
 * that it has not seen: when it goes, it puts back the one that it saw, and that one knows nothing of it. */
#include "overflow.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define ALT_BYTES (64u << 10)

#define LEVELS 4 /* so many may stand before each other: later ones are not told apart from the last */

typedef struct rm_fault {
    int sig;
    int level;                    /* of our handler that was in place when somebody looked */
    struct sigaction old[LEVELS]; /* what our handler of each level has behind it */
} rm_fault;

static rm_fault segv = {.sig = SIGSEGV}, bus = {.sig = SIGBUS};
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int users;
static bool dying; /* atomic: the default action is in place, to stay */
/* This thread is in the handler before us: were we in its place after all (each chained to the other), or does
 * it send the signal again, then that one is for the default action. */
static __thread int chained __attribute__((tls_model("initial-exec")));       /* our level + 1 */
static __thread char *chained_at
    __attribute__((tls_model("initial-exec"))); /* our frame; not below it: that was left by siglongjmp */

static char *put(char *to, char *end, const char *text) {
    while (*text && to < end) *to++ = *text++;
    return to;
}

static char *put_number(char *to, char *end, uint64_t n, unsigned base) {
    char digits[24];
    int i = 0;
    do {
        digits[i++] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n);
    while (i && to < end) *to++ = digits[--i];
    return to;
}

static void name_it(const rm_g *g, const void *addr) {
    char line[256], *at = line, *end = line + sizeof line;
    at = put(at, end, "ramet: goroutine ");
    at = put_number(at, end, g->id, 10);
    at = put(at, end, " (");
    at = put(at, end, g->name[0] ? g->name : "unnamed");
    at = put(at, end, "): stack overflow: fault at 0x");
    at = put_number(at, end, (uint64_t)(uintptr_t)addr, 16);
    at = put(at, end, ", stack of ");
    at = put_number(at, end, (uint64_t)((const char *)g - g->lo) >> 10, 10);
    at = put(at, end, " KiB\n");
    if (write(2, line, (size_t)(at - line)) < 0) return;
}

static bool has_handler(const struct sigaction *sa) {
    if (sa->sa_flags & SA_SIGINFO) return sa->sa_sigaction != NULL;
    return sa->sa_handler != SIG_DFL && sa->sa_handler != SIG_IGN;
}

/* The stack pointer at the fault; NULL where it cannot be had. */
static const char *stack_pointer(const void *context) {
#if defined(__linux__) && defined(__x86_64__)
    return (const char *)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RSP];
#elif defined(__linux__) && defined(__aarch64__)
    return (const char *)((const ucontext_t *)context)->uc_mcontext.sp;
#else
    (void)context;
    return NULL;
#endif
}

typedef struct search {
    const rm_stacks *stacks;
    const char *addr, *sp;
    rm_g *found;
} search;

static bool stands_on(rm_g *g, void *arg) {
    search *s = arg;
    if (!rm_stack_in_guard(s->stacks, g, s->addr) || s->sp < g->lo - s->stacks->guard || s->sp >= (char *)g)
        return true;
    s->found = g;
    return false;
}

/* Whose stack has overflown by this fault; NULL: it is something else. */
static rm_g *overflown(rm_m *m, const char *addr, const char *sp) {
    rm_stacks *stacks = &m->rt->stacks;
    rm_g *g = m->p->cur;
    if (rm_stack_in_guard(stacks, g, addr)) return g;
    if (!sp) return NULL;
    search s = {stacks, addr, sp, NULL};
    rm_stacks_each(stacks, stands_on, &s);
    if (s.found) return s.found;
    return g->lo && sp < g->lo && (size_t)(g->lo - sp) < (16u << 20) && addr >= sp - 4096 && addr < (char *)g ? g
                                                                                                              : NULL;
}

static void on_fault(int level, int sig, siginfo_t *info, void *context) {
    const struct sigaction *old = &(sig == SIGSEGV ? &segv : &bus)->old[level];
    int saved = errno;
    char *here = __builtin_frame_address(0), *outer_at = chained_at;
    if (chained && here >= chained_at) chained = 0;
    int outer = chained;
    bool again = outer && level >= outer - 1;
    bool sent = info->si_code <= 0; /* by kill: it does not come again by itself */
    for (rm_m *m = sent ? NULL : rm_tls; m; m = m->next) {
        rm_g *g = m->p ? overflown(m, info->si_addr, stack_pointer(context)) : NULL;
        if (!g) continue;
        if (m->rt->hooks.overflow && m->rt->hooks.overflow(m->rt, g, info->si_addr)) {
            errno = saved;
            return;
        }
        name_it(g, info->si_addr);
        break;
    }
    if (!again && has_handler(old)) {
        chained = level + 1;
        chained_at = here;
        if (old->sa_flags & SA_SIGINFO) old->sa_sigaction(sig, info, context);
        else old->sa_handler(sig);
        chained = outer;
        chained_at = outer_at;
    } else if (sent && !again && old->sa_handler == SIG_IGN) {
        /* as if we were not there */
    } else { /* die of it: go back with the default in place, and fault again (a sent signal is sent again) */
        rm_store(&dying, true);
        signal(sig, SIG_DFL);
        if (sent) raise(sig);
    }
    errno = saved;
}

static void on_fault_0(int sig, siginfo_t *info, void *context) { on_fault(0, sig, info, context); }
static void on_fault_1(int sig, siginfo_t *info, void *context) { on_fault(1, sig, info, context); }
static void on_fault_2(int sig, siginfo_t *info, void *context) { on_fault(2, sig, info, context); }
static void on_fault_3(int sig, siginfo_t *info, void *context) { on_fault(3, sig, info, context); }

static void (*const handlers[LEVELS])(int, siginfo_t *, void *) = {on_fault_0, on_fault_1, on_fault_2, on_fault_3};

/* The level of our handler; -1: it is not ours. */
static int level_of(const struct sigaction *sa) {
    for (int i = 0; sa->sa_flags & SA_SIGINFO && i < LEVELS; i++)
        if (sa->sa_sigaction == handlers[i]) return i;
    return -1;
}

static bool same(const struct sigaction *a, const struct sigaction *b) {
    return (a->sa_flags & SA_SIGINFO) == (b->sa_flags & SA_SIGINFO) &&
           (a->sa_flags & SA_SIGINFO ? a->sa_sigaction == b->sa_sigaction : a->sa_handler == b->sa_handler);
}

/* Be in front of now, what is there. */
static int take(rm_fault *f, const struct sigaction *now) {
    int level = 0;
    while (level <= f->level && !same(&f->old[level], now)) level++; /* it has been here before */
    if (level == LEVELS) level--;
    struct sigaction before = f->old[level], was;
    f->old[level] = *now;
    struct sigaction sa = {.sa_sigaction = handlers[level], .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigemptyset(&sa.sa_mask);
    if (sigaction(f->sig, &sa, &was)) return -errno;
    int gone = same(&was, now) ? -1 : level_of(&was);
    if (gone >= 0) { /* it has gone meanwhile: be as ours that it has put back, and put that back */
        f->old[level] = gone == level ? before : f->old[gone];
        sigaction(f->sig, &was, NULL);
        level = gone;
    }
    f->level = level;
    return 0;
}

static int install(rm_fault *f) {
    struct sigaction now;
    if (sigaction(f->sig, NULL, &now)) return -errno;
    int level = level_of(&now);
    if (level < 0) return take(f, &now);
    f->level = level;
    return 0;
}

int rm_overflow_install(void) {
    int e = 0;
    pthread_mutex_lock(&mutex);
    if (users++ == 0) {
        e = install(&segv);
        if (!e) e = install(&bus);
        if (e) users--;
    }
    pthread_mutex_unlock(&mutex);
    return e;
}

static void retake(rm_fault *f) {
    struct sigaction now;
    if (sigaction(f->sig, NULL, &now)) return;
    if (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_IGN) return;
    int level = level_of(&now);
    if (level < 0) take(f, &now);
    else f->level = level;
}

void rm_overflow_recheck(void) {
    if (rm_load(&dying)) return;
    retake(&segv);
    retake(&bus);
}

static void restore(const rm_fault *f) {
    struct sigaction now;
    int level = sigaction(f->sig, NULL, &now) ? -1 : level_of(&now);
    if (level >= 0) sigaction(f->sig, &f->old[level], NULL); /* somebody who chained to us keeps us */
}

void rm_overflow_uninstall(void) {
    pthread_mutex_lock(&mutex);
    if (--users == 0) {
        restore(&segv);
        restore(&bus);
    }
    pthread_mutex_unlock(&mutex);
}

int rm_overflow_installed(int sig) {
    struct sigaction now;
    if (sigaction(sig, NULL, &now) || !has_handler(&now)) return 0;
    if (level_of(&now) >= 0) return 1;
    return rm_load(&users) > 0 ? 2 : 0;
}

static __thread void *alt;

bool rm_overflow_thread_installed(void) { return alt != NULL; }

int rm_overflow_thread_init(void) {
    stack_t ss;
    if (sigaltstack(NULL, &ss)) return -errno;
    if (!(ss.ss_flags & SS_DISABLE) && ss.ss_size >= ALT_BYTES / 4) return 0; /* faulthandler's, or a sanitizer's */
    void *mem = mmap(NULL, ALT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mem == MAP_FAILED) return -ENOMEM;
    ss = (stack_t){.ss_sp = mem, .ss_size = ALT_BYTES};
    if (sigaltstack(&ss, NULL)) {
        munmap(mem, ALT_BYTES);
        return -errno;
    }
    alt = mem;
    return 0;
}

void rm_overflow_thread_fini(void) {
    stack_t ss;
    if (!alt || sigaltstack(NULL, &ss) || ss.ss_sp != alt) return;
    ss = (stack_t){.ss_flags = SS_DISABLE};
    sigaltstack(&ss, NULL);
    munmap(alt, ALT_BYTES);
    alt = NULL;
}
