/* test_scope.c: scopes: deadlines, nesting, shields, and how they meet ramet_cancel. */
#include <errno.h>
#include <stdlib.h>

#include "check.h"

#define FAR ramet_deadline(100 * RAMET_SECOND)

static int wait_for_ever(void) { return ramet_chan_recv(NULL, NULL, RAMET_FOREVER); }
static int64_t pending_timers(void) {
    ramet_stats st;
    CHECK_EQ(ramet_get_stats(&st), 0);
    return (int64_t)st.timers;
}

static void enter_and_leave(void) {
    ramet_scope s;
    CHECK_EQ(ramet_scope_enter(&s, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(ramet_scope_leave(&s), 0);
    CHECK_EQ(ramet_scope_enter(&s, FAR), 0);
    CHECK_EQ(pending_timers(), 1);
    CHECK_EQ(ramet_sleep(1), 0);
    CHECK_EQ(ramet_scope_leave(&s), 0);
    CHECK_EQ(pending_timers(), 0);
}

static void deadline(void) {
    ramet_scope s;
    int64_t began = ramet_now();
    CHECK_EQ(ramet_scope_enter(&s, ramet_deadline(5 * RAMET_MILLISECOND)), 0);
    CHECK_EQ(wait_for_ever(), -ECANCELED);
    CHECK(ramet_now() - began >= 5 * RAMET_MILLISECOND);
    for (int i = 0; i < 3; i++) { /* it stays */
        CHECK_EQ(wait_for_ever(), -ECANCELED);
        CHECK_EQ(ramet_yield(), -ECANCELED);
        CHECK_EQ(ramet_sleep(1), -ECANCELED);
    }
    CHECK_EQ(ramet_scope_leave(&s), 1);
    CHECK_EQ(ramet_yield(), 0); /* and ends with the scope */
    CHECK_EQ(pending_timers(), 0);
}

static void deadline_moves(void) {
    ramet_scope s;
    CHECK_EQ(ramet_scope_enter(&s, ramet_deadline(5 * RAMET_MILLISECOND)), 0);
    CHECK_EQ(ramet_scope_set_deadline(&s, FAR), 0); /* later */
    CHECK_EQ(ramet_sleep(10 * RAMET_MILLISECOND), 0);
    CHECK_EQ(ramet_scope_set_deadline(&s, RAMET_FOREVER), 0); /* none */
    CHECK_EQ(pending_timers(), 0);
    CHECK_EQ(ramet_scope_set_deadline(&s, ramet_now() - 1), 0); /* past */
    CHECK_EQ(wait_for_ever(), -ECANCELED);
    CHECK_EQ(ramet_scope_set_deadline(&s, FAR), 0); /* too late */
    CHECK_EQ(pending_timers(), 0);
    CHECK_EQ(ramet_yield(), -ECANCELED);
    CHECK_EQ(ramet_scope_leave(&s), 1);
}

static void every_wait(void) {
    ramet_scope s;
    int v;
    ramet_chan *c = ramet_chan_make(sizeof v, 1);
    ramet_case k[] = {{c, &v, RAMET_RECV, false}};
    CHECK_EQ(ramet_chan_send(c, &(int){5}, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_scope_enter(&s, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_scope_cancel(&s), 0);
    CHECK_EQ(ramet_scope_cancel(&s), 0);
    CHECK_EQ(ramet_chan_recv(c, &v, RAMET_FOREVER), -ECANCELED); /* nothing is consumed */
    CHECK_EQ(ramet_chan_send(c, &v, RAMET_FOREVER), -ECANCELED);
    CHECK_EQ(ramet_chan_send(c, &v, RAMET_POLL), -EAGAIN); /* no cancellation point */
    CHECK_EQ(ramet_select(k, 1, RAMET_FOREVER), -ECANCELED);
    CHECK_EQ(ramet_join(ramet_self(), RAMET_FOREVER), -ECANCELED);
    CHECK_EQ(ramet_blocking((void *(*)(void *))abort, NULL, NULL), -ECANCELED);
    CHECK_EQ(ramet_fd_wait(0, RAMET_READABLE, RAMET_FOREVER), -ECANCELED);
    CHECK_EQ(ramet_scope_leave(&s), 1);
    CHECK_EQ(ramet_chan_recv(c, &v, RAMET_FOREVER), 0);
    CHECK_EQ(v, 5);
    CHECK_EQ(ramet_chan_free(c), 0);
}

static void nesting(void) {
    ramet_scope out, mid, in;
    CHECK_EQ(ramet_scope_enter(&out, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_scope_enter(&mid, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_scope_enter(&in, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_scope_leave(&mid), -EINVAL); /* not the innermost */
    CHECK_EQ(ramet_scope_leave(&out), -EINVAL);
    CHECK_EQ(ramet_scope_cancel(&mid), 0);
    CHECK_EQ(ramet_yield(), -ECANCELED);
    CHECK_EQ(ramet_scope_leave(&in), 0); /* it itself was not */
    CHECK_EQ(ramet_yield(), -ECANCELED);
    CHECK_EQ(ramet_scope_enter(&in, RAMET_FOREVER), 0); /* one that is entered in a cancelled one */
    CHECK_EQ(ramet_yield(), -ECANCELED);
    CHECK_EQ(ramet_scope_leave(&in), 0);
    CHECK_EQ(ramet_scope_leave(&mid), 1);
    CHECK_EQ(ramet_yield(), 0); /* the outer one is not touched */
    CHECK_EQ(ramet_scope_enter(&in, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_scope_cancel(&in), 0);
    CHECK_EQ(ramet_yield(), -ECANCELED);
    CHECK_EQ(ramet_scope_leave(&in), 1);
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(ramet_scope_leave(&out), 0);
    CHECK_EQ(ramet_scope_leave(&out), -EINVAL); /* no more */
}

/* Another goroutine cancels the outermost of 50 while we wait in the innermost. */
static void cancels(void *s) { CHECK_EQ(ramet_scope_cancel(s), 0); }

static void deep(void) {
    enum { N = 50 };
    ramet_scope s[N];
    for (int i = 0; i < N; i++) CHECK_EQ(ramet_scope_enter(&s[i], i % 3 ? RAMET_FOREVER : FAR), 0);
    check_go(cancels, &s[0]);
    CHECK_EQ(wait_for_ever(), -ECANCELED);
    for (int i = N - 1; i >= 0; i--) {
        CHECK_EQ(ramet_yield(), -ECANCELED);
        CHECK_EQ(ramet_scope_leave(&s[i]), i == 0);
    }
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(pending_timers(), 0);
}

/* A tree is no deeper a recursion for being deep; a shield in the middle keeps what is inside it. */
static void deeper_than_a_stack(void) {
    enum { N = 200000, SHIELD = N / 2 };
    ramet_scope *s = malloc(N * sizeof *s);
    for (int i = 0; i < N; i++)
        CHECK_EQ(i == SHIELD ? ramet_scope_enter_shield(&s[i]) : ramet_scope_enter(&s[i], RAMET_FOREVER), 0);
    CHECK_EQ(ramet_scope_cancel(&s[0]), 0);
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(ramet_scope_cancel(&s[SHIELD + 1]), 0);
    for (int i = N - 1; i >= 0; i--) {
        CHECK_EQ(ramet_yield(), i == SHIELD ? 0 : -ECANCELED);
        CHECK_EQ(ramet_scope_leave(&s[i]), i == 0 || i == SHIELD + 1);
    }
    CHECK_EQ(ramet_yield(), 0);
    free(s);
}

static void outer_deadline_reaches_in(void) {
    ramet_scope out, in;
    CHECK_EQ(ramet_scope_enter(&out, ramet_deadline(3 * RAMET_MILLISECOND)), 0);
    CHECK_EQ(ramet_scope_enter(&in, FAR), 0);
    CHECK_EQ(ramet_sleep(50 * RAMET_SECOND), -ECANCELED);
    CHECK_EQ(ramet_scope_leave(&in), 0);
    CHECK_EQ(ramet_scope_leave(&out), 1);
}

static void shield_from_scopes(void) {
    ramet_scope out, shield, in;
    CHECK_EQ(ramet_scope_enter(&out, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_scope_enter_shield(&shield), 0);
    CHECK_EQ(ramet_scope_enter(&in, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_scope_cancel(&out), 0);
    CHECK_EQ(ramet_sleep(RAMET_MILLISECOND), 0);
    CHECK_EQ(ramet_scope_cancel(&in), 0); /* what is inside the shield still works */
    CHECK_EQ(ramet_yield(), -ECANCELED);
    CHECK_EQ(ramet_scope_leave(&in), 1);
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(ramet_scope_leave(&shield), 0);
    CHECK_EQ(ramet_yield(), -ECANCELED); /* it has waited for us */
    CHECK_EQ(ramet_scope_enter_shield(&shield), 0); /* entered when it is cancelled already: to tidy up */
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(ramet_scope_cancel(&shield), 0); /* the shield itself can be cancelled */
    CHECK_EQ(ramet_yield(), -ECANCELED);
    CHECK_EQ(ramet_scope_leave(&shield), 1);
    CHECK_EQ(ramet_scope_leave(&out), 1);
    CHECK_EQ(ramet_yield(), 0);
}

static void shield_from_cancel(void) {
    ramet_scope a, b;
    CHECK_EQ(ramet_cancel(ramet_self()), 0); /* asked for before the shield */
    CHECK_EQ(ramet_scope_enter_shield(&a), 0);
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(ramet_scope_enter_shield(&b), 0);
    CHECK_EQ(ramet_cancel(ramet_self()), 0); /* and within: once is enough */
    CHECK_EQ(ramet_sleep(RAMET_MILLISECOND), 0);
    CHECK_EQ(ramet_scope_leave(&b), 0);
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(ramet_scope_leave(&a), 0);
    CHECK_EQ(ramet_yield(), -ECANCELED);
    CHECK_EQ(ramet_yield(), 0);
}

/* ramet_cancel is for one call; a scope for all of its calls. */
static int results[4];
static void cancelled_in_scope(void *arg) {
    ramet_scope s;
    CHECK_EQ(ramet_scope_enter(&s, RAMET_FOREVER), 0);
    results[0] = wait_for_ever();
    results[1] = ramet_yield();
    if (arg) CHECK_EQ(ramet_scope_cancel(&s), 0);
    results[2] = ramet_yield();
    results[3] = ramet_scope_leave(&s);
}

static void cancel_and_scope(void) {
    for (int both = 0; both < 2; both++) {
        ramet_goroutine g = check_go(cancelled_in_scope, both ? "" : NULL);
        check_settle();
        CHECK_EQ(ramet_cancel(g), 0);
        check_join(g);
        CHECK_EQ(results[0], -ECANCELED);
        CHECK_EQ(results[1], 0);
        CHECK_EQ(results[2], both ? -ECANCELED : 0);
        CHECK_EQ(results[3], both);
    }
    ramet_scope s; /* both at once: the scope's leaves with it, the other has been consumed */
    CHECK_EQ(ramet_scope_enter(&s, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_cancel(ramet_self()), 0);
    CHECK_EQ(ramet_scope_cancel(&s), 0);
    CHECK_EQ(ramet_yield(), -ECANCELED);
    CHECK_EQ(ramet_scope_leave(&s), 1);
    CHECK_EQ(ramet_yield(), 0);
}

/* A value that was handed over before the scope was cancelled is kept. */
static ramet_chan *kept;
static ramet_scope kept_scope;
static int kept_value, kept_result, kept_next;
static void keeps(void *arg) {
    (void)arg;
    CHECK_EQ(ramet_scope_enter(&kept_scope, RAMET_FOREVER), 0);
    kept_result = ramet_chan_recv(kept, &kept_value, RAMET_FOREVER);
    kept_next = ramet_yield();
    CHECK_EQ(ramet_scope_leave(&kept_scope), 1);
}

static void completed_wait_keeps_its_value(void) {
    kept = ramet_chan_make(sizeof(int), 0);
    ramet_goroutine g = check_go(keeps, NULL);
    check_settle();
    CHECK_EQ(ramet_chan_send(kept, &(int){9}, RAMET_POLL), 0);
    CHECK_EQ(ramet_scope_cancel(&kept_scope), 0);
    check_join(g);
    CHECK_EQ(kept_result, 0);
    CHECK_EQ(kept_value, 9);
    CHECK_EQ(kept_next, -ECANCELED);
    CHECK_EQ(ramet_chan_free(kept), 0);
}

/* Scopes of many goroutines, cancelled from outside, all at once. */
static ramet_scope many[200];
static int many_done;
static void in_own_scope(void *arg) {
    ramet_scope *s = arg;
    CHECK_EQ(ramet_scope_enter(s, FAR), 0);
    CHECK_EQ(wait_for_ever(), -ECANCELED);
    CHECK_EQ(ramet_scope_leave(s), 1);
    many_done++;
}

static void cancelled_from_outside(void) {
    many_done = 0;
    for (int i = 0; i < 200; i++) check_go(in_own_scope, &many[i]);
    check_settle();
    CHECK_EQ(pending_timers(), 200);
    for (int i = 0; i < 200; i++) CHECK_EQ(ramet_scope_cancel(&many[i]), 0);
    CHECK_EQ(pending_timers(), 0);
    check_settle();
    CHECK_EQ(many_done, 200);
}

static void outside_a_runtime(void) {
    ramet_scope s;
    CHECK_EQ(ramet_scope_enter(&s, RAMET_FOREVER), -EPERM);
    CHECK_EQ(ramet_scope_enter_shield(&s), -EPERM);
    CHECK_EQ(ramet_scope_leave(&s), -EPERM);
    CHECK_EQ(ramet_scope_cancel(&s), -EPERM);
}

static const check_test tests[] = {
    IN_RUNTIME(enter_and_leave),
    IN_RUNTIME(deadline),
    IN_RUNTIME(deadline_moves),
    IN_RUNTIME(every_wait),
    IN_RUNTIME(nesting),
    IN_RUNTIME(deep),
    IN_RUNTIME(deeper_than_a_stack),
    IN_RUNTIME(outer_deadline_reaches_in),
    IN_RUNTIME(shield_from_scopes),
    IN_RUNTIME(shield_from_cancel),
    IN_RUNTIME(cancel_and_scope),
    IN_RUNTIME(completed_wait_keeps_its_value),
    IN_RUNTIME(cancelled_from_outside),
    PLAIN(outside_a_runtime),
    {0},
};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
