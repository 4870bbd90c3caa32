/* base.h: the few macros that every file uses. */
#ifndef RM_BASE_H
#define RM_BASE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/config.h"

#define rm_likely(x) __builtin_expect(!!(x), 1)
#define rm_unlikely(x) __builtin_expect(!!(x), 0)
#define rm_noinline __attribute__((noinline))
#define rm_inline static inline __attribute__((always_inline))
#define rm_container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))

/* An invariant of ours, never a check of the user's input. On in test builds. */
#if RM_DEBUG
#define rm_assert(x)                                                                                                   \
    do {                                                                                                               \
        if (rm_unlikely(!(x))) rm_assert_failed(#x, __FILE__, __LINE__);                                               \
    } while (0)
#else
#define rm_assert(x) ((void)sizeof(!(x)))
#endif
static inline void rm_assert_failed(const char *what, const char *file, int line) {
    fprintf(stderr, "ramet: invariant broken: %s (%s:%d)\n", what, file, line);
    abort();
}

/* Allocation goes through these two, so that tests can make the n-th one fail. */
#ifdef RM_FAIL_INJECT
void *rm_malloc(size_t n);
void *rm_calloc(size_t n, size_t size);
bool rm_inject_fault(const char *site);
#else
#define rm_malloc malloc
#define rm_calloc calloc
#define rm_inject_fault(site) false
#endif

rm_inline int64_t rm_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* now + ns, saturating at "for ever". */
rm_inline int64_t rm_after(int64_t ns) {
    int64_t now = rm_now(), when;
    if (ns < 0) ns = 0;
    if (__builtin_add_overflow(now, ns, &when)) return RM_FOREVER;
    return when;
}

#endif
