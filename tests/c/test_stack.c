/* test_stack.c: stacks: their size, their guards, that slots are used again and given back. */
#include <errno.h>
#include <sys/wait.h>

#include "check.h"
#include "stack.h"

static ramet_stats stats(void) {
    ramet_stats st;
    CHECK_EQ(ramet_get_stats(&st), 0);
    return st;
}

static void nothing(void *arg) { (void)arg; }

/* ------------------------------------------------------------------ size ---- */

/* Use about `bytes` of the stack, and see that they keep what is written while others run. */
static int __attribute__((noinline)) use(int bytes, int seed) {
    volatile char piece[1024];
    for (int i = 0; i < 1024; i++) piece[i] = (char)(seed + i);
    if (bytes > 1024) seed += use(bytes - 1024, seed + 1) & 0;
    else CHECK_EQ(ramet_yield(), 0);
    for (int i = 0; i < 1024; i++) CHECK_EQ(piece[i], (char)(seed + i));
    return piece[5];
}

static int used;
static void uses(void *arg) {
    use((int)(intptr_t)arg, used);
    used++;
}

static int uses_in_five(void *bytes) {
    ramet_goroutine g[5];
    used = 0;
    for (int i = 0; i < 5; i++) g[i] = check_go(uses, bytes);
    for (int i = 0; i < 5; i++) check_join(g[i]);
    return used;
}

static void size_bounds(void) {
    static const struct {
        size_t asked;
        int usable;
    } sizes[] = {{1, 5}, {16 << 10, 5}, {(16 << 10) + 1, 16}, {0, 40}, {100000, 100}, {1 << 20, 800}, {64 << 20, 4000}};
#if defined(CHECK_ASAN) || defined(CHECK_TSAN)
    int part = 4; /* frames are larger there */
#else
    int part = 1;
#endif
    for (int mode = 0; mode < 2; mode++) {
        ramet_options o = {.mode = (ramet_mode)mode};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            o.stack_size = sizes[i].asked;
            CHECK_EQ(ramet_run(uses_in_five, (void *)(intptr_t)(sizes[i].usable * 1024 / part), &o), 5);
        }
        o.stack_size = (64 << 20) + 1;
        CHECK_EQ(ramet_run(uses_in_five, NULL, &o), -EINVAL);
        o.stack_size = SIZE_MAX;
        CHECK_EQ(ramet_run(uses_in_five, NULL, &o), -EINVAL);
    }
}

/* ------------------------------------------------------------------ guard ---- */

static int __attribute__((noinline)) too_deep(volatile int *n) {
    volatile char piece[200];
    piece[0] = (char)++*n;
    if (*n < 0) return 0; /* never */
    return too_deep(n) + piece[0];
}

static void overflows(void *arg) {
    volatile int n = 0;
    (void)arg;
    too_deep(&n);
}

static int run_overflow(void *arg) {
    for (int i = 0; i < 10; i++) check_go(nothing, NULL);
    ramet_goroutine g = check_go(overflows, arg);
    CHECK_EQ(ramet_set_name(g, "digger"), 0);
    fprintf(stderr, "id %llu\n", (unsigned long long)g.id);
    check_join(g);
    return 0;
}

static void overflow_names_the_goroutine(void) {
    static const size_t sizes[] = {16 << 10, 0, 1 << 20};
#if defined(CHECK_TSAN)
    return; /* its own stack of calls overflows first */
#endif
    for (int mode = 0; mode < 2; mode++)
        for (int i = 0; i < 3; i++) {
            char text[10000];
            FILE *f = tmpfile();
            CHECK(f);
            fflush(NULL);
            pid_t pid = fork();
            CHECK(pid >= 0);
            if (pid == 0) {
                dup2(fileno(f), 2);
                alarm(20);
                ramet_options o = {.mode = (ramet_mode)mode, .stack_size = sizes[i]};
                ramet_run(run_overflow, NULL, &o);
                _exit(0); /* it must not get here */
            }
            int status = 0;
            CHECK_EQ(waitpid(pid, &status, 0), pid);
            rewind(f);
            text[fread(text, 1, sizeof text - 1, f)] = 0;
            fclose(f);
#if defined(CHECK_ASAN) || defined(CHECK_TSAN)
            CHECK(status != 0);
#else
            CHECK(WIFSIGNALED(status));
            CHECK(WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS || WTERMSIG(status) == SIGABRT);
#endif
            CHECK(strstr(text, "stack overflow"));
            CHECK(strstr(text, "digger"));
            CHECK(strstr(text, "id 12\n"));
            CHECK(strstr(text, "goroutine 12 "));
        }
}

/* A crash of another kind is none of ours. */
static void crashes(void *arg) { *(volatile int *)arg = 1; }
static int run_crash(void *arg) {
    (void)arg;
    check_join(check_go(crashes, (void *)16));
    return 0;
}

static void other_faults_are_not_called_overflows(void) {
    char text[10000];
    FILE *f = tmpfile();
    CHECK(f);
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(fileno(f), 2);
        alarm(20);
        ramet_run(run_crash, NULL, NULL);
        _exit(0);
    }
    int status = 0;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(status != 0);
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    CHECK(!strstr(text, "): stack overflow"));
}

/* ------------------------------------------------------------------ slots ---- */

static void slots_are_used_again(void) {
    for (int i = 0; i < 1000; i++) check_join(check_go(nothing, NULL));
    CHECK(stats().stacks <= 3);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 500; i++) check_go(nothing, NULL);
        CHECK_EQ(ramet_yield(), 0);
    }
    CHECK(stats().stacks <= 503);
    CHECK(stats().free_stacks + 2 >= stats().stacks);
}

enum { N = 500 };

static int state_seen;
static bool count_slot(rm_g *g, void *arg) {
    (void)g;
    state_seen++;
    return state_seen < *(int *)arg;
}

/* The slab allocator by itself. */
static void slabs(void) {
    static rm_g *g[N];
    rm_stacks s;
    CHECK_EQ(rm_stacks_init(&s, (64 << 20) + 1, 0), -EINVAL);
    CHECK_EQ(rm_stacks_init(&s, 65536, 4096), 0);
    CHECK_EQ(s.slot, 65536);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            g[i] = rm_stack_alloc(&s, i % 3 != 0);
            CHECK(g[i]);
            char *top = rm_stack_top(g[i]);
            CHECK(((uintptr_t)top & 63) == 0 && top > g[i]->lo + 50000 && top < g[i]->lo + 65536);
            for (int k = 0; k < i; k++)
                CHECK(g[k] != g[i] && (g[k]->lo > g[i]->lo ? g[k]->lo - g[i]->lo : g[i]->lo - g[k]->lo) >= 65536);
            CHECK(rm_stack_in_guard(&s, g[i], g[i]->lo - 1));
            CHECK(rm_stack_in_guard(&s, g[i], g[i]->lo - 4096));
            CHECK(!rm_stack_in_guard(&s, g[i], g[i]->lo - 4097));
            CHECK(!rm_stack_in_guard(&s, g[i], g[i]->lo));
            memset(g[i]->lo + 64, 0x77, (size_t)(top - g[i]->lo) - 64);
        }
        CHECK_EQ(s.carved, N);
        state_seen = 0;
        rm_stacks_each(&s, count_slot, &(int){1000000});
        CHECK_EQ(state_seen, N);
        state_seen = 0;
        rm_stacks_each(&s, count_slot, &(int){7}); /* it stops when it is told to */
        CHECK_EQ(state_seen, 7);
        for (int i = 0; i < N; i++) rm_stack_free(&s, g[i], i % 5 != 0);
        CHECK_EQ(s.magazine_n + s.depot_n + s.cold_n, N);
        CHECK(s.magazine_n <= 2 * RM_MAGAZINE);
        uint32_t warm = s.depot_n;
        CHECK(warm > 200);
        CHECK_EQ(rm_stacks_trim(&s, 100), 100);
        CHECK_EQ(rm_stacks_trim(&s, N), warm - 100);
        CHECK_EQ(rm_stacks_trim(&s, N), 0);
        CHECK_EQ(s.depot_n, 0);
        CHECK_EQ(s.cold_n, warm);
        for (uint32_t i = 0; i < s.cold_n; i++) CHECK_EQ(s.cold[i]->lo[8000], 0); /* its memory has gone back */
    }
    rm_stacks_fini(&s);
}

static void opened_guard(void) {
    rm_stacks s;
    CHECK_EQ(rm_stacks_init(&s, 65536, 3 * 4096), 0);
    rm_g *g = rm_stack_alloc(&s, true), *h = rm_stack_alloc(&s, true);
    CHECK(g && h);
    CHECK_EQ(rm_stack_open_guard(&s, g, s.guard), 0);
    memset(g->lo - 2 * 4096, 1, 2 * 4096); /* all but the red page */
    CHECK_EQ(rm_stack_close_guard(&s, g), 0);
    CHECK(rm_stack_in_guard(&s, g, g->lo - 3 * 4096));
    int fd[2]; /* the kernel writes on our behalf: an error, not a signal */
    CHECK_EQ(pipe(fd), 0);
    CHECK_EQ(write(fd[1], "xyz", 3), 3);
    CHECK(read(fd[0], g->lo - 1, 1) < 0 && errno == EFAULT);
    CHECK(read(fd[0], h->lo - 3 * 4096, 1) < 0 && errno == EFAULT);
    CHECK_EQ(read(fd[0], h->lo, 1), 1);
    close(fd[0]);
    close(fd[1]);
    rm_stacks_fini(&s);
}

static const check_test tests[] = {
    PLAIN(size_bounds),
    PLAIN(overflow_names_the_goroutine),
    PLAIN(other_faults_are_not_called_overflows),
    IN_RUNTIME(slots_are_used_again),
    PLAIN(slabs),
    PLAIN(opened_guard),
    {0},
};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
