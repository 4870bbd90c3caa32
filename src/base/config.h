/* config.h: every constant of the runtime, and how the core is compiled.
 *
 * The core is compiled twice: into libramet, where the mode is chosen at start, and into the Python
 * extension (RM_EMBED_HEADER names a header that supplies the switch hook), which is always
 * serialised: the embedder's GIL is the owner lock. */
#ifndef RM_CONFIG_H
#define RM_CONFIG_H

#define RM_RUNQ_SIZE 256        /* slots of a proc's ring; a power of two (a model checker shrinks it) */
#define RM_TICK 61              /* switches between two looks at timers and poller (Go's schedtick) */
#define RM_RUNNEXT_BUDGET 61    /* wake-ups in a row that may jump the queue */
#define RM_SLAB_BYTES (64u << 20) /* one mapping of stacks */
#define RM_STACK_DEFAULT (64u << 10)
#define RM_STACK_MIN (16u << 10)
#define RM_STACK_MAX (64u << 20)
/* Control blocks of neighbouring slots do not stand at the same place in their pages (see stack.c): one of RM_COLOURS
 * places RM_COLOUR_BYTES apart. With Python, what a switch touches is about that long, and a goroutine parked in recv two
 * calls deep has 1,080 to 1,500 bytes of its page left. */
#ifdef RM_EMBED_HEADER
#define RM_COLOURS 3u
#define RM_COLOUR_BYTES 448u
#else
#define RM_COLOURS 16u
#define RM_COLOUR_BYTES 128u
#endif
#define RM_RED_BYTES 4096u      /* guard that is never opened */
#define RM_MAGAZINE 64          /* free stacks a proc keeps to itself, times two */
#define RM_POLL_EVENTS 256      /* events harvested by one poll */
#define RM_POOL_MAX 64          /* default limit of blocking pool threads */
#define RM_POOL_TTL_NS 10000000000LL /* an idle pool thread ends after this */
#define RM_SPIN_NS                                                                                                     \
    50000        /* spin of proc and pool before either sleeps, where a CPU is idle; longer
                                   than the wake-up of a CPU (25 us on virtual machines): blocking.c */
#define RM_SYSMON_NS 10000000LL /* sysmon's tick while the proc is busy */
#define RM_GRACE_NS 2000000000LL /* how long run() waits for cancelled goroutines to end */
#define RM_NAME_MAX 16

#define RM_FOREVER INT64_MAX

#ifndef RM_DEBUG
#define RM_DEBUG 0
#endif

#endif
