/* atomic.h: every atomic access and lock of the core.
 *
 * The one place that a model checker replaces. rm_lock is a spin lock for sections of a few
 * dozen instructions; in a serialised runtime taking it is a predictable branch and nothing else.
 * Under an rm_lock: no call into the embedder, no free of user objects, no allocation that can call back. */
#ifndef RM_ATOMIC_H
#define RM_ATOMIC_H

#include "base/base.h"

#define rm_load(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define rm_load_acq(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define rm_load_seq(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define rm_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define rm_store_rel(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define rm_store_seq(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define rm_xchg(p, v) __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define rm_fetch_add(p, v) __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST)
#define rm_fetch_sub(p, v) __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST)
#define rm_fetch_or(p, v) __atomic_fetch_or(p, v, __ATOMIC_RELAXED)
#define rm_fetch_and(p, v) __atomic_fetch_and(p, v, __ATOMIC_RELAXED)
#define rm_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* Compare and swap: true if *p was `old` and is now `new`. */
#define rm_cas(p, old, new)                                                                                            \
    __extension__({                                                                                                    \
        __typeof__(*(p)) rm_old_ = (old);                                                                              \
        __atomic_compare_exchange_n(p, &rm_old_, (new), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);                    \
    })

rm_inline void rm_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Whether the runtime is in locked mode. In an embedder that serialises it is never. */
#ifdef RM_EMBED_HEADER
#define rm_locked() false
#else
extern bool rm_locked_mode;
#define rm_locked() rm_unlikely(rm_locked_mode)
#endif

typedef struct rm_lock {
    uint32_t held;
} rm_lock;

void rm_lock_slow(rm_lock *l);

rm_inline void rm_lock_take(rm_lock *l) {
    if (rm_locked() && rm_unlikely(__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE))) rm_lock_slow(l);
}

rm_inline void rm_lock_drop(rm_lock *l) {
    if (rm_locked()) rm_store_rel(&l->held, 0);
}

/* The same for data that threads share in both modes (pool, stack depot, foreign threads). */
rm_inline void rm_shared_take(rm_lock *l) {
    if (rm_unlikely(__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE))) rm_lock_slow(l);
}

rm_inline void rm_shared_drop(rm_lock *l) { rm_store_rel(&l->held, 0); }

#endif
