/* check.h: the tests' small frame. A test file is a program: a table of test functions and check_main.
 *
 *     static void addition(void) { CHECK(1 + 1 == 2); CHECK_EQ(1 + 1, 2); }
 *     static const check_test tests[] = {IN_RUNTIME(addition), PLAIN(other), {0}};
 *     int main(int argc, char **argv) { return check_main(tests, argc, argv); }
 *
 * IN_RUNTIME runs the function as the main goroutine of a ramet_run, once in either mode; PLAIN just calls it.
 * Arguments choose tests by name. A test that takes longer than CHECK_SECONDS ends the program. A failed
 * CHECK ends it too: what comes after would not mean anything. */
#ifndef CHECK_H
#define CHECK_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ramet.h"

#if defined(__SANITIZE_THREAD__)
#define CHECK_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define CHECK_ASAN 1
#endif
#if defined(__has_feature) /* clang */
#if __has_feature(thread_sanitizer)
#define CHECK_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define CHECK_ASAN 1
#endif
#endif

#ifndef CHECK_SECONDS
#define CHECK_SECONDS 50
#endif

typedef struct check_test {
    const char *name;
    void (*fn)(void);
    int in_runtime;
} check_test;

#define IN_RUNTIME(f) {#f, f, 1}
#define PLAIN(f) {#f, f, 0}

static const char *check_name = "";
__attribute__((unused)) static ramet_mode check_mode; /* of the runtime that the test runs in */

#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "\n%s:%d: in %s: failed: %s\n", __FILE__, __LINE__, check_name, #cond);                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* The same for integers, with both sides printed. */
#define CHECK_EQ(a, b)                                                                                                 \
    do {                                                                                                               \
        long long check_a_ = (long long)(a), check_b_ = (long long)(b);                                                \
        if (check_a_ != check_b_) {                                                                                    \
            fprintf(stderr, "\n%s:%d: in %s: failed: %s == %s: %lld != %lld\n", __FILE__, __LINE__, check_name, #a,    \
                    #b, check_a_, check_b_);                                                                           \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Start a goroutine; wait for one. */
__attribute__((unused)) static ramet_goroutine check_go(void (*fn)(void *), void *arg) {
    ramet_goroutine g;
    CHECK_EQ(ramet_go(fn, arg, &g), 0);
    return g;
}

__attribute__((unused)) static void check_join(ramet_goroutine g) { CHECK_EQ(ramet_join(g, RAMET_FOREVER), 0); }

/* Let all others run until they wait (for something other than time). */
__attribute__((unused)) static void check_settle(void) {
    for (int i = 0; i < 4; i++) CHECK_EQ(ramet_yield(), 0);
}

/* How many of something to take: n, or few where every instruction is watched (thread sanitizer; CHECK_FEW
 * in the environment, for valgrind). */
__attribute__((unused)) static int check_many(int n, int few) {
#if defined(CHECK_TSAN)
    return few;
#endif
    return getenv("CHECK_FEW") ? few : n;
}

static void check_alarm(int sig) {
    (void)sig;
    static const char text[] = "\ncheck: timed out in ";
    ssize_t r = write(2, text, sizeof text - 1);
    r = write(2, check_name, strlen(check_name));
    r = write(2, "\n", 1);
    (void)r;
    abort();
}

static int check_start(void *test) {
    ((const check_test *)test)->fn();
    return 0;
}

static int check_main(const check_test *tests, int argc, char **argv) {
    static const char *const modes[] = {"serialised", "locked"};
    signal(SIGALRM, check_alarm);
    for (const check_test *t = tests; t->name; t++) {
        int chosen = argc < 2;
        for (int i = 1; i < argc; i++) chosen |= !strcmp(argv[i], t->name);
        if (!chosen) continue;
        check_name = t->name;
        for (int mode = 0; mode < (t->in_runtime ? 2 : 1); mode++) {
            printf("%s%s%s ... ", t->name, t->in_runtime ? " " : "", t->in_runtime ? modes[mode] : "");
            fflush(stdout);
            alarm(CHECK_SECONDS);
            int64_t began = ramet_now();
            if (t->in_runtime) {
                ramet_options options = {.mode = (ramet_mode)mode};
                check_mode = (ramet_mode)mode;
                CHECK_EQ(ramet_run(check_start, (void *)t, &options), 0);
            } else {
                t->fn();
            }
            alarm(0);
            printf("ok (%.1f ms)\n", (double)(ramet_now() - began) / 1e6);
        }
    }
    return 0;
}

#endif
