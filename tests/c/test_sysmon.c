/* sysmon: hogs, a starved poller, the coarse clock, sleeping and waking with the proc, trimming. */
#include "check.h"

#include "blocking.h"
#include "netpoll.h"
#include "sysmon.h"

#define MS RAMET_MILLISECOND

static rm_rt *the_runtime(void) { return rm_g_self()->p->rt; }

static struct {
    int calls, oncpu;
    int64_t last, ask; /* to be called again then */
    uint64_t switches;
} hog;

static int64_t on_hog(rm_rt *rt, uint64_t switches, int64_t ns, bool oncpu) { /* on sysmon's thread */
    (void)rt;
    rm_store(&hog.last, ns);
    rm_store(&hog.switches, switches);
    if (oncpu) rm_store(&hog.oncpu, hog.oncpu + 1);
    rm_store_rel(&hog.calls, hog.calls + 1);
    return ns < rm_load(&hog.ask) ? rm_load(&hog.ask) : 0;
}

static void burn(int64_t ns) { for (int64_t until = ramet_deadline(ns); ramet_now() < until;); }

static void watch_hogs(rm_rt *rt) {
    ramet_yield();
    ramet_sleep(MS);
    memset(&hog, 0, sizeof hog);
    rt->hooks.hog = on_hog;
}

/* On a loaded machine sysmon, or we, may not get a CPU in time: try again. */
#define WITHIN_TRIES(what)                                                                                             \
    for (int tries = 0; !(what); tries++) CHECK(tries < 20)

static bool burning_is_told(void) {
    watch_hogs(the_runtime());
    burn(200 * MS);
    int calls = rm_load_acq(&hog.calls);
    CHECK(calls <= 7); /* at 1, 2, 4, 8, 16 ticks */
    return calls >= 2 && rm_load(&hog.oncpu) >= 1 && rm_load(&hog.last) >= 20 * MS;
}

static bool blocking_is_told(void) { /* the proc is held up, but burns nothing */
    watch_hogs(the_runtime());
    usleep(150000);
    return rm_load_acq(&hog.calls) >= 2 && rm_load(&hog.oncpu) <= 1;
}

static bool switching_is_not(void) {
    watch_hogs(the_runtime());
    for (int i = 0; i < 50; i++) {
        burn(MS);
        ramet_sleep(100 * RAMET_MICROSECOND);
    }
    ramet_sleep(50 * MS);
    return rm_load_acq(&hog.calls) == 0;
}

static bool asked_for_is_told(void) { /* not only at 10, 20, 40, 80 ms */
    watch_hogs(the_runtime());
    rm_store(&hog.ask, 50 * MS);
    burn(70 * MS);
    bool told = rm_load_acq(&hog.calls) && rm_load(&hog.last) >= 50 * MS && rm_load(&hog.last) < 75 * MS;
    CHECK(!told || rm_load(&hog.switches) == the_runtime()->p.switches);
    return told;
}

static void hogs_are_told(void) {
    WITHIN_TRIES(burning_is_told());
    WITHIN_TRIES(blocking_is_told());
    WITHIN_TRIES(asked_for_is_told());
    WITHIN_TRIES(switching_is_not());
    the_runtime()->hooks.hog = NULL;
}

static void woken_from_deep_sleep(void) { /* after a long idle time too */
    rm_rt *rt = the_runtime();
    ramet_sleep(120 * MS);
    watch_hogs(rt);
    for (int tries = 0; !rm_load_acq(&hog.calls); tries++) {
        burn(60 * MS);
        CHECK(tries < 20);
    }
    rt->hooks.hog = NULL;
}

static struct {
    int calls, blocked;
    uint64_t switches;
} slice;

static void on_preempt(rm_rt *rt, uint64_t switches, bool oncpu) { /* on sysmon's thread */
    (void)rt;
    if (!oncpu) {
        rm_store_rel(&slice.blocked, slice.blocked + 1);
        return;
    }
    rm_store(&slice.switches, switches);
    rm_store_rel(&slice.calls, slice.calls + 1);
}

static int calls_while(void (*work)(int64_t ns)) {
    ramet_yield();
    ramet_sleep(MS);
    int before = rm_load_acq(&slice.calls);
    work(100 * MS);
    return rm_load_acq(&slice.calls) - before;
}

static void block(int64_t ns) { usleep((useconds_t)(ns / 1000)); }

static void ends_of_slices_are_told(void) {
    rm_rt *rt = the_runtime();
    rt->hooks.preempt = on_preempt;
    CHECK(calls_while(burn) == 0); /* nobody has asked for it */
    rm_store(&rt->slice, 5 * MS);
    WITHIN_TRIES(calls_while(burn) >= 4);
    CHECK(rm_load(&slice.switches) == rt->p.switches);
    int blocked = rm_load_acq(&slice.blocked);
    WITHIN_TRIES(calls_while(block) <= 1);
    CHECK(rm_load_acq(&slice.blocked) > blocked);
    rm_store(&rt->slice, 0);
    ramet_sleep(20 * MS);
    CHECK(calls_while(burn) == 0);
}

static bool other_ran;
static void other(void *arg) {
    (void)arg;
    other_ran = true;
}

static void preempted_is_no_cancellation_point(void) {
    rm_g *g = rm_g_self();
    CHECK_EQ(ramet_go(other, NULL, NULL), 0);
    rm_g_cancel_now(g, RM_CANCEL_ONCE);
    rm_preempt(g);
    CHECK(other_ran);
    CHECK(ramet_yield() == -ECANCELED);
}

static char order[64];
static int computing;

/* Once between two slices. */
static void note(char c) {
    size_t n = strlen(order), slice = n;
    while (slice && order[slice - 1] > '9') slice--;
    if (n + 1 < sizeof order && !strchr(order + slice, c)) order[n] = c;
}

static void computes(void *name) {
    for (int i = 0; i < 5; i++) {
        note(*(char *)name);
        rm_preempt(rm_g_self());
    }
    computing--;
}

static void waits(void *name) {
    while (computing) {
        note(*(char *)name);
        ramet_yield();
    }
}

static void between_two_slices_the_others_run(void) {
    ramet_goroutine g[4];
    memset(order, 0, sizeof order);
    for (int i = 0; i < 4; i++) CHECK_EQ(ramet_go(i < 2 ? computes : waits, &"12ab"[i], &g[i]), 0);
    computing = 2;
    for (int i = 0; i < 4; i++) CHECK_EQ(ramet_join(g[i], RAMET_FOREVER), 0);
    CHECK(!strncmp(order, "12", 2));
    for (int i = 0; i < 8; i++) {
        const char *turn = order + 2 + 3 * i;
        CHECK(!strncmp(turn, "ab", 2) || !strncmp(turn, "ba", 2));
        CHECK(turn[2] == "12"[i % 2]);
    }
}

static void keeps_the_coarse_clock(void) {
    rm_p *p = &the_runtime()->p;
    ramet_yield();
    for (int tries = 0;; tries++) { /* on a loaded machine sysmon may not get its CPU at once */
        burn(60 * MS);
        if (ramet_now() - rm_load(&p->now) < 40 * MS) break;
        CHECK(tries < 20);
    }
}

static void asks_for_attention(void) {
    rm_p *p = &the_runtime()->p;
    ramet_sleep(MS);
    rm_store(&p->attention, 0);
    for (int tries = 0; !rm_load(&p->attention); tries++) {
        burn(60 * MS);
        CHECK(tries < 20);
    }
}

static void nothing(void *arg) { ramet_yield(); }

static int trim_main(void *arg) {
    rm_rt *rt = the_runtime();
    enum { N = 2000 };
    static ramet_goroutine g[N];
    for (int i = 0; i < N; i++) CHECK_EQ(ramet_go(nothing, NULL, &g[i]), 0);
    for (int i = 0; i < N; i++) CHECK_EQ(ramet_join(g[i], RAMET_FOREVER), 0);
    CHECK(rm_load(&rt->stacks.depot_n) > N / 2);
    for (int i = 0; i < 150 && rm_load(&rt->stacks.depot_n); i++) ramet_sleep(100 * MS);
    CHECK_EQ(rm_load(&rt->stacks.depot_n), 0);
    CHECK(rm_load(&rt->stacks.cold_n) > N / 2);
    for (int i = 0; i < N; i++) CHECK_EQ(ramet_go(nothing, NULL, &g[i]), 0); /* and they are good as new */
    for (int i = 0; i < N; i++) CHECK_EQ(ramet_join(g[i], RAMET_FOREVER), 0);
    return 0;
}

static void trims_free_stacks(void) {
    int64_t usual = rm_sysmon_trim_ns;
    rm_sysmon_trim_ns = 300 * MS;
    for (int mode = 0; mode < 2; mode++)
        CHECK_EQ(ramet_run(trim_main, NULL, &(ramet_options){.mode = (ramet_mode)mode}), 0);
    rm_sysmon_trim_ns = usual;
}

static const check_test tests[] = {IN_RUNTIME(hogs_are_told),
                                   IN_RUNTIME(woken_from_deep_sleep),
                                   IN_RUNTIME(keeps_the_coarse_clock),
                                   IN_RUNTIME(asks_for_attention),
                                   IN_RUNTIME(ends_of_slices_are_told),
                                   IN_RUNTIME(preempted_is_no_cancellation_point),
                                   IN_RUNTIME(between_two_slices_the_others_run),
                                   PLAIN(trims_free_stacks),
                                   {0}};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
