/* sanitize.h: tell ASan, TSan and valgrind about stacks and switches. All empty in plain builds. */
#ifndef RM_SANITIZE_H
#define RM_SANITIZE_H

#include "base/base.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RM_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define RM_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(RM_ASAN)
#define RM_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(RM_TSAN)
#define RM_TSAN 1
#endif

#if defined(RM_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define rm_san_unpoison(p, n) __asan_unpoison_memory_region(p, n)
#else
#define rm_san_unpoison(p, n) ((void)0)
#endif

#if defined(RM_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

/* TSan notes which functions a fiber is in, with room for some ten thousand. What a goroutine leaves for good must not be
 * noted: RM_TSAN_BLIND. Such a function sees no races either, so that what is worth a look stands RM_TSAN_APART. */
#if !defined(RM_TSAN)
#define RM_TSAN_BLIND
#define RM_TSAN_APART rm_inline
#elif defined(__clang__)
#define RM_TSAN_BLIND __attribute__((disable_sanitizer_instrumentation))
#define RM_TSAN_APART static rm_noinline
#else
#define RM_TSAN_BLIND __attribute__((no_sanitize("thread")))
#define RM_TSAN_APART static rm_noinline
#endif

#if defined(RM_VALGRIND)
#include <valgrind/valgrind.h>
#define rm_san_stack(lo, hi) ((void)VALGRIND_STACK_REGISTER(lo, hi))
#else
#define rm_san_stack(lo, hi) ((void)0)
#endif

#endif
