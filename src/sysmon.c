/* sysmon.c: the thread that watches the proc.
 *
 * While the proc is busy it ticks every RM_SYSMON_NS: it keeps the coarse clock p->now, has the
 * loop look at timers and poller if it has not for a tick, and tells the embedder (hooks.hog) of a
 * goroutine that has run without a switch for 1, 2, 4 ... times RM_SYSMON_NS, then every second, and when it asks to. Where
 * goroutines are preempted it ticks at least twice a slice, and tells (hooks.preempt) the end of each. While the
 * proc is idle it has nothing to do: after IDLE_TICKS of that it sleeps until rm_sysmon_wake, but
 * for free stacks: those that nobody needed for some seconds are given back to the system first, a
 * few a tick.
 *
 * Going to sleep: `asleep` = 1, then a look at p->idle; the proc leaves idle, then looks at
 * `asleep`: one of the two sees the other. A wake-up costs the proc a system call, and so happens
 * only after a real pause.
 *
 * It reads the proc's fields without a lock, by rm_load, and writes none but p->now, p->hogging and, through
 * rm_attend, attention. */
#include "sysmon.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "overflow.h"

#define SYSMON_IDLE_TICKS 5
#define SYSMON_TRIM_BATCH 256
#define SYSMON_HOG_MAX_NS 1000000000LL

int64_t rm_sysmon_trim_ns = 5000000000LL;

struct rm_sysmon {
    rm_rt *rt;
    pthread_t thread;
    clockid_t cpu_clock; /* of the proc's thread */
    bool has_cpu_clock;
    int tid;             /* the proc's thread, too */
    uint32_t asleep;     /* atomic, a futex: 1 while it sleeps until it is woken */
    uint32_t stop;       /* atomic, a futex */
};

/* What the thread remembers from tick to tick. */
typedef struct sysmon_seen {
    uint64_t switches, polls;
    int64_t since;    /* when switches was seen to have moved */
    int64_t cpu;      /* CPU time of the proc's thread then */
    int64_t hog_next; /* tell the embedder when the same goroutine has run for so long */
    int64_t asked;    /* when its slice began: then, or when it was last asked to give way */
    int64_t asked_cpu;
    int idle_ticks;
    uint32_t depot_low; /* fewest free stacks since trim_at was set */
    uint32_t to_trim;
    int64_t trim_at;
} sysmon_seen;

static void sysmon_futex_wake(uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

static void sysmon_futex_wait(uint32_t *word, uint32_t seen, int64_t ns) {
    struct timespec t = {ns / 1000000000, ns % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, seen, ns == RM_FOREVER ? NULL : &t, NULL, 0);
}

static int64_t sysmon_cpu(const struct rm_sysmon *s) {
    struct timespec t;
    if (!s->has_cpu_clock || clock_gettime(s->cpu_clock, &t)) return 0;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Whether the proc's thread has a CPU or waits for one, as on a loaded machine. */
static bool sysmon_runnable(const struct rm_sysmon *s) {
    char text[512];
    snprintf(text, sizeof text, "/proc/self/task/%d/stat", s->tid);
    int fd = open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *name_end = strrchr(text, ')');
    return name_end && strncmp(name_end, ") R", 3) == 0;
}

static int64_t sysmon_tick(const rm_rt *rt) {
    int64_t half = rm_load(&rt->slice) / 2;
    return half && half < RM_SYSMON_NS ? half : RM_SYSMON_NS;
}

/* Somebody else runs, or nobody has. */
static void sysmon_turn(sysmon_seen *seen, int64_t now, int64_t cpu) {
    seen->since = seen->asked = now;
    seen->cpu = seen->asked_cpu = cpu;
    seen->hog_next = RM_SYSMON_NS;
}

static void sysmon_busy(struct rm_sysmon *s, sysmon_seen *seen, int64_t now) {
    rm_rt *rt = s->rt;
    rm_p *p = &rt->p;
    if (rm_load(&p->now) < now) rm_store(&p->now, now);
    rm_overflow_recheck();
    if (rt->hooks.tick) rt->hooks.tick(rt);
    uint64_t switches = rm_load(&p->switches), polls = rm_load(&p->polls);
    if (polls == seen->polls) rm_attend(p);
    seen->polls = polls;
    int64_t cpu = sysmon_cpu(s), used = cpu - seen->cpu, slice = rm_load(&rt->slice);
    if (switches != seen->switches) {
        seen->switches = switches;
        sysmon_turn(seen, now, cpu);
        return;
    }
    if (slice) rm_store(&p->hogging, switches + 1);
    if (slice && now - seen->asked >= slice) {
        rt->hooks.preempt(rt, switches, !s->has_cpu_clock || cpu - seen->asked_cpu > slice / 20);
        seen->asked = now;
        seen->asked_cpu = cpu;
    }
    int64_t ran = now - seen->since;
    if (ran < seen->hog_next) return;
    seen->hog_next = 2 * ran < ran + SYSMON_HOG_MAX_NS ? 2 * ran : ran + SYSMON_HOG_MAX_NS;
    if (!rt->hooks.hog) return;
    /* a twentieth: others may want the CPU, too; or next to none, for long, if there are many */
    bool oncpu = (s->has_cpu_clock && used > ran / 20) || (ran >= SYSMON_HOG_MAX_NS && sysmon_runnable(s));
    int64_t next = rt->hooks.hog(rt, switches, ran, oncpu);
    if (next > ran && next < seen->hog_next) seen->hog_next = next;
}

/* The low-water mark of the depot over a period is what nobody needed. */
static void sysmon_trim(struct rm_sysmon *s, sysmon_seen *seen, int64_t now) {
    rm_stacks *st = &s->rt->stacks;
    uint32_t n = rm_load(&st->depot_n);
    if (n < seen->depot_low) seen->depot_low = n;
    if (now >= seen->trim_at) {
        seen->to_trim = seen->depot_low;
        seen->depot_low = n;
        seen->trim_at = now + rm_sysmon_trim_ns;
    }
    if (seen->to_trim) {
        uint32_t batch = seen->to_trim < SYSMON_TRIM_BATCH ? seen->to_trim : SYSMON_TRIM_BATCH;
        int done = rm_stacks_trim(st, (int)batch);
        seen->to_trim = done > 0 ? seen->to_trim - (uint32_t)done : 0;
    }
}

static void *sysmon_main(void *arg) {
    struct rm_sysmon *s = arg;
    rm_p *p = &s->rt->p;
    sysmon_seen seen = {0};
    sysmon_turn(&seen, rm_now(), sysmon_cpu(s));
    pthread_setname_np(pthread_self(), "ramet-sysmon");
    seen.trim_at = seen.since + rm_sysmon_trim_ns;
    while (!rm_load_acq(&s->stop)) {
        int64_t tick = sysmon_tick(s->rt);
        bool deep = seen.idle_ticks * tick >= SYSMON_IDLE_TICKS * RM_SYSMON_NS;
        if (deep) {
            int64_t ns = seen.to_trim                      ? RM_SYSMON_NS
                         : rm_load(&s->rt->stacks.depot_n) ? rm_sysmon_trim_ns / 5
                                                           : RM_FOREVER;
            rm_store_seq(&s->asleep, 1);
            if (rm_load_seq(&p->idle) && !rm_load_seq(&s->stop)) sysmon_futex_wait(&s->asleep, 1, ns);
            /* woken: there was work, though it may be over by now; or every burst of it would
             * wake us */
            if (!rm_xchg(&s->asleep, 0)) seen.idle_ticks = 0;
        } else {
            sysmon_futex_wait(&s->stop, 0, tick);
        }
        int64_t now = rm_now();
        if (rm_load_acq(&s->stop)) break;
        if (rm_load(&p->idle)) {
            seen.idle_ticks++;
            sysmon_turn(&seen, now, sysmon_cpu(s));
        } else {
            if (deep) { /* a new day: what was seen before the sleep says nothing */
                seen.switches = rm_load(&p->switches);
                sysmon_turn(&seen, now, sysmon_cpu(s));
            }
            seen.idle_ticks = 0;
            sysmon_busy(s, &seen, now);
        }
        sysmon_trim(s, &seen, now);
    }
    return NULL;
}

int rm_sysmon_start(rm_rt *rt) {
    struct rm_sysmon *s = rm_calloc(1, sizeof *s);
    if (!s) return -ENOMEM;
    s->rt = rt;
    s->has_cpu_clock = pthread_getcpuclockid(pthread_self(), &s->cpu_clock) == 0;
    s->tid = (int)syscall(SYS_gettid);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = EAGAIN;
    if (!rm_inject_fault("pthread_create")) e = pthread_create(&s->thread, NULL, sysmon_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e) {
        free(s);
        return -e;
    }
    rt->sysmon = s;
    return 0;
}

void rm_sysmon_stop(rm_rt *rt, bool child_of_fork) {
    struct rm_sysmon *s = rt->sysmon;
    if (!s) return;
    if (!child_of_fork) {
        rm_store_seq(&s->stop, 1);
        sysmon_futex_wake(&s->stop);
        rm_store_seq(&s->asleep, 0); /* it waits on one or the other */
        sysmon_futex_wake(&s->asleep);
        pthread_join(s->thread, NULL);
    }
    rt->sysmon = NULL;
    free(s);
}

void rm_sysmon_wake(rm_rt *rt) {
    struct rm_sysmon *s = rt->sysmon;
    if (rm_likely(!rm_load_seq(&s->asleep))) return; /* after idle = 0, stored seq_cst */
    if (rm_xchg(&s->asleep, 0)) sysmon_futex_wake(&s->asleep);
}
