/* test_waitq.c: mutex, rwmutex, cond, semaphore, event, waitgroup, once: between goroutines and OS threads. */
#include <errno.h>
#include <pthread.h>

#include "check.h"

#define SOON ramet_deadline(2 * RAMET_MILLISECOND)
#define LONG ramet_deadline(20 * RAMET_SECOND)

static ramet_mutex mutex;
static ramet_rwmutex rw;
static ramet_cond cond;
static ramet_sem sem;
static ramet_event event;
static ramet_waitgroup group;
static ramet_once once;
static int order[64], norder, inside, most, shared;

static void fresh(void) {
    memset(&mutex, 0, sizeof mutex);
    memset(&rw, 0, sizeof rw);
    memset(&cond, 0, sizeof cond);
    memset(&sem, 0, sizeof sem);
    memset(&event, 0, sizeof event);
    memset(&group, 0, sizeof group);
    memset(&once, 0, sizeof once);
    norder = inside = most = shared = 0;
}

static void came(void *n) { order[norder++] = (int)(intptr_t)n; }

/* ------------------------------------------------------------------ mutex ---- */

static void lock_and_note(void *n) {
    CHECK_EQ(ramet_mutex_lock(&mutex, LONG), 0);
    came(n);
    CHECK_EQ(ramet_mutex_unlock(&mutex), 0);
}

static void mutex_in_order(void) {
    ramet_goroutine g[10];
    fresh();
    CHECK_EQ(ramet_mutex_lock(&mutex, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_mutex_lock(&mutex, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_mutex_lock(&mutex, SOON), -ETIMEDOUT);
    for (int i = 0; i < 10; i++) g[i] = check_go(lock_and_note, (void *)(intptr_t)i);
    check_settle();
    CHECK_EQ(norder, 0);
    CHECK_EQ(ramet_mutex_unlock(&mutex), 0);
    for (int i = 0; i < 10; i++) check_join(g[i]);
    for (int i = 0; i < 10; i++) CHECK_EQ(order[i], i);
    CHECK_EQ(ramet_mutex_unlock(&mutex), -EPERM);
}

static int got_it;
static void wait_for_it(void *arg) {
    (void)arg;
    CHECK_EQ(ramet_mutex_lock(&mutex, LONG), 0);
    got_it = 1;
    CHECK_EQ(ramet_mutex_unlock(&mutex), 0);
}

/* Who holds it all but always, and never lets go for longer than it takes to take it again, cannot keep it for good. */
static void mutex_is_handed_over(void) {
    fresh();
    got_it = 0;
    CHECK_EQ(ramet_mutex_lock(&mutex, RAMET_FOREVER), 0);
    ramet_goroutine g = check_go(wait_for_it, NULL);
    int64_t until = ramet_deadline(10 * RAMET_SECOND);
    while (!got_it) {
        CHECK(ramet_now() < until);
        CHECK_EQ(ramet_sleep(RAMET_MILLISECOND / 2), 0); /* it is woken, and finds it taken */
        CHECK_EQ(ramet_mutex_unlock(&mutex), 0);
        CHECK_EQ(ramet_mutex_lock(&mutex, RAMET_FOREVER), 0);
    }
    CHECK_EQ(ramet_mutex_unlock(&mutex), 0);
    check_join(g);
}

static int lock_result;
static void lock_once(void *arg) {
    (void)arg;
    lock_result = ramet_mutex_lock(&mutex, LONG);
    if (!lock_result) CHECK_EQ(ramet_mutex_unlock(&mutex), 0);
}

static void mutex_cancelled(void) {
    fresh();
    CHECK_EQ(ramet_mutex_lock(&mutex, RAMET_FOREVER), 0);
    ramet_goroutine g = check_go(lock_once, NULL), h = check_go(wait_for_it, NULL);
    check_settle();
    CHECK_EQ(ramet_cancel(g), 0);
    check_join(g);
    CHECK_EQ(lock_result, -ECANCELED);
    got_it = 0;
    CHECK_EQ(ramet_mutex_unlock(&mutex), 0); /* goes to the one behind */
    check_join(h);
    CHECK_EQ(got_it, 1);
    /* cancelled when it had been woken already: it may have it, and nobody is forgotten */
    CHECK_EQ(ramet_mutex_lock(&mutex, RAMET_FOREVER), 0);
    g = check_go(lock_once, NULL), h = check_go(wait_for_it, NULL);
    check_settle();
    got_it = 0;
    CHECK_EQ(ramet_mutex_unlock(&mutex), 0);
    CHECK_EQ(ramet_cancel(g), 0);
    check_join(g), check_join(h);
    CHECK(got_it && (lock_result == 0 || lock_result == -ECANCELED));
    CHECK_EQ(ramet_mutex_lock(&mutex, RAMET_POLL), 0);
}

/* ------------------------------------------------------------------ rwmutex ---- */

static void read_it(void *n) {
    CHECK_EQ(ramet_rwmutex_rlock(&rw, LONG), 0);
    came(n);
    if (++inside > most) most = inside;
    CHECK_EQ(ramet_sleep(RAMET_MILLISECOND), 0);
    inside--;
    CHECK_EQ(ramet_rwmutex_runlock(&rw), 0);
}
static void write_it(void *n) {
    CHECK_EQ(ramet_rwmutex_lock(&rw, LONG), 0);
    came(n);
    CHECK_EQ(inside, 0);
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(inside, 0);
    CHECK_EQ(ramet_rwmutex_unlock(&rw), 0);
}

static void rwmutex_in_order(void) {
    ramet_goroutine g[8];
    fresh();
    CHECK_EQ(ramet_rwmutex_rlock(&rw, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_rwmutex_lock(&rw, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_rwmutex_rlock(&rw, RAMET_POLL), 0);
    CHECK_EQ(ramet_rwmutex_runlock(&rw), 0);
    for (int i = 0; i < 8; i++) g[i] = check_go(i == 0 || i == 4 ? write_it : read_it, (void *)(intptr_t)i);
    check_settle();
    CHECK_EQ(norder, 0); /* the writer that waits keeps readers out */
    CHECK_EQ(ramet_rwmutex_rlock(&rw, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_rwmutex_runlock(&rw), 0);
    for (int i = 0; i < 8; i++) check_join(g[i]);
    for (int i = 0; i < 8; i++) CHECK_EQ(order[i], i);
    CHECK_EQ(most, 3);
    CHECK_EQ(ramet_rwmutex_unlock(&rw), -EPERM);
    CHECK_EQ(ramet_rwmutex_runlock(&rw), -EPERM);
}

static void try_write(void *arg) { *(int *)arg = ramet_rwmutex_lock(&rw, SOON); }

static void a_writer_that_gives_up_lets_readers_in(void) {
    int e = 1;
    fresh();
    CHECK_EQ(ramet_rwmutex_rlock(&rw, RAMET_FOREVER), 0);
    ramet_goroutine w = check_go(try_write, &e), r = check_go(read_it, (void *)7);
    check_join(w);
    CHECK_EQ(e, -ETIMEDOUT);
    check_join(r);
    CHECK_EQ(order[0], 7);
    CHECK_EQ(ramet_rwmutex_runlock(&rw), 0);
    CHECK_EQ(ramet_rwmutex_lock(&rw, RAMET_POLL), 0);
}

/* ------------------------------------------------------------------ cond ---- */

static int waited[4];
static void wait_on_cond(void *n) {
    int i = (int)(intptr_t)n;
    CHECK_EQ(ramet_mutex_lock(&mutex, RAMET_FOREVER), 0);
    waited[i] = ramet_cond_wait(&cond, &mutex, i == 3 ? SOON : LONG);
    came(n);
    CHECK_EQ(ramet_mutex_lock(&mutex, RAMET_POLL), -EAGAIN); /* it is held again */
    CHECK_EQ(ramet_mutex_unlock(&mutex), 0);
}

static void cond_wakes_in_order(void) {
    ramet_goroutine g[4];
    fresh();
    CHECK_EQ(ramet_cond_signal(&cond), 0);
    CHECK_EQ(ramet_cond_wait(&cond, &mutex, RAMET_POLL), -EPERM);
    for (int i = 0; i < 3; i++) g[i] = check_go(wait_on_cond, (void *)(intptr_t)i);
    check_settle();
    CHECK_EQ(ramet_cond_signal(&cond), 1);
    check_join(g[0]);
    CHECK_EQ(norder, 1);
    CHECK_EQ(ramet_cond_broadcast(&cond), 2);
    check_join(g[1]), check_join(g[2]);
    for (int i = 0; i < 3; i++) CHECK(order[i] == i && waited[i] == 0);
    g[3] = check_go(wait_on_cond, (void *)3);
    check_join(g[3]);
    CHECK_EQ(waited[3], -ETIMEDOUT);
    CHECK_EQ(ramet_cond_signal(&cond), 0);
}

static void cond_cancelled_has_the_lock(void) {
    fresh();
    waited[0] = 1;
    ramet_goroutine g = check_go(wait_on_cond, NULL);
    check_settle();
    CHECK_EQ(ramet_mutex_lock(&mutex, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_cancel(g), 0);
    check_settle(); /* it must wait for the lock, cancelled or not */
    CHECK_EQ(waited[0], 1);
    CHECK_EQ(ramet_mutex_unlock(&mutex), 0);
    check_join(g);
    CHECK_EQ(waited[0], -ECANCELED);
}

/* ------------------------------------------------------------------ semaphore, event, waitgroup, once ---- */

static void use_one(void *n) {
    CHECK_EQ(ramet_sem_acquire(&sem, LONG), 0);
    came(n);
    if (++inside > most) most = inside;
    CHECK_EQ(ramet_sleep(RAMET_MILLISECOND), 0);
    inside--;
    CHECK_EQ(ramet_sem_release(&sem, 1), 0);
}

static void semaphore(void) {
    ramet_goroutine g[9];
    fresh();
    CHECK_EQ(ramet_sem_acquire(&sem, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_sem_acquire(&sem, SOON), -ETIMEDOUT);
    for (int i = 0; i < 9; i++) g[i] = check_go(use_one, (void *)(intptr_t)i);
    check_settle();
    CHECK_EQ(ramet_sem_release(&sem, 3), 0);
    for (int i = 0; i < 9; i++) check_join(g[i]);
    CHECK_EQ(most, 3);
    for (int i = 0; i < 9; i++) CHECK_EQ(order[i], i);
    for (int i = 0; i < 3; i++) CHECK_EQ(ramet_sem_acquire(&sem, RAMET_POLL), 0);
    CHECK_EQ(ramet_sem_acquire(&sem, RAMET_POLL), -EAGAIN);
}

static void wait_event(void *n) {
    CHECK_EQ(ramet_event_wait(&event, LONG), 0);
    came(n);
}

static void events(void) {
    ramet_goroutine g[5];
    fresh();
    CHECK_EQ(ramet_event_wait(&event, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_event_wait(&event, SOON), -ETIMEDOUT);
    for (int i = 0; i < 5; i++) g[i] = check_go(wait_event, (void *)(intptr_t)i);
    check_settle();
    CHECK_EQ(ramet_event_set(&event), 0);
    CHECK_EQ(ramet_event_set(&event), 0);
    for (int i = 0; i < 5; i++) check_join(g[i]);
    for (int i = 0; i < 5; i++) CHECK_EQ(order[i], i);
    CHECK_EQ(ramet_event_wait(&event, RAMET_POLL), 0);
    CHECK_EQ(ramet_event_clear(&event), 0);
    CHECK_EQ(ramet_event_wait(&event, RAMET_POLL), -EAGAIN);
}

static void one_done(void *arg) {
    (void)arg;
    CHECK_EQ(ramet_sleep(RAMET_MILLISECOND), 0);
    shared++;
    CHECK_EQ(ramet_waitgroup_add(&group, -1), 0);
}

static void waitgroups(void) {
    fresh();
    CHECK_EQ(ramet_waitgroup_wait(&group, RAMET_POLL), 0);
    CHECK_EQ(ramet_waitgroup_add(&group, -1), -EINVAL);
    CHECK_EQ(ramet_waitgroup_add(&group, 20), 0);
    CHECK_EQ(ramet_waitgroup_wait(&group, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_waitgroup_wait(&group, SOON), -ETIMEDOUT);
    for (int i = 0; i < 20; i++) check_go(one_done, NULL);
    CHECK_EQ(ramet_waitgroup_wait(&group, LONG), 0);
    CHECK_EQ(shared, 20);
    CHECK_EQ(ramet_waitgroup_add(&group, INT64_MAX), 0);
    CHECK_EQ(ramet_waitgroup_add(&group, 1), -EINVAL);
}

static void slowly(void *n) {
    ++*(int *)n;
    CHECK_EQ(ramet_sleep(2 * RAMET_MILLISECOND), 0);
    ++*(int *)n;
}
static void do_once(void *n) {
    CHECK_EQ(ramet_once_do(&once, slowly, n), 0);
    CHECK_EQ(*(int *)n, 2);
}

static void onces(void) {
    ramet_goroutine g[5];
    int n = 0;
    fresh();
    CHECK_EQ(ramet_once_do(&once, NULL, NULL), -EINVAL);
    for (int i = 0; i < 5; i++) g[i] = check_go(do_once, &n);
    for (int i = 0; i < 5; i++) check_join(g[i]);
    do_once(&n);
}

/* ------------------------------------------------------------------ with OS threads ---- */

enum { WHO = 4 };
static int each_turns, full, goods;
static ramet_cond not_full;

static void take_turns(void *arg) {
    uint32_t r = (uint32_t)(intptr_t)arg + 1;
    for (int i = 0; i < each_turns; i++) {
        int e;
        r = r * 1664525u + 1013904223u;
        while ((e = ramet_mutex_lock(&mutex, r >> 30 ? RAMET_FOREVER : ramet_deadline(20000))) == -ETIMEDOUT);
        CHECK_EQ(e, 0);
        int was = shared;
        if (r >> 29 == 5) sched_yield();
        shared = was + 1;
        CHECK_EQ(ramet_mutex_unlock(&mutex), 0);
        /* one that may be read by all, written by one */
        CHECK_EQ(ramet_rwmutex_rlock(&rw, RAMET_FOREVER), 0);
        int a = goods;
        CHECK_EQ(a, goods);
        CHECK_EQ(ramet_rwmutex_runlock(&rw), 0);
        if (i % 8 == 0) {
            CHECK_EQ(ramet_rwmutex_lock(&rw, RAMET_FOREVER), 0);
            goods++;
            CHECK_EQ(ramet_rwmutex_unlock(&rw), 0);
        }
        CHECK_EQ(ramet_sem_acquire(&sem, RAMET_FOREVER), 0);
        CHECK(__atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST) <= 2);
        __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
        CHECK_EQ(ramet_sem_release(&sem, 1), 0);
        /* a buffer of one, in turn filled and emptied */
        CHECK_EQ(ramet_mutex_lock(&mutex, RAMET_FOREVER), 0);
        if ((intptr_t)arg % 2) {
            while (full) CHECK_EQ(ramet_cond_wait(&not_full, &mutex, RAMET_FOREVER), 0);
            full = 1;
            CHECK(ramet_cond_signal(&cond) >= 0);
        } else {
            while (!full) CHECK_EQ(ramet_cond_wait(&cond, &mutex, RAMET_FOREVER), 0);
            full = 0;
            CHECK(ramet_cond_signal(&not_full) >= 0);
        }
        CHECK_EQ(ramet_mutex_unlock(&mutex), 0);
    }
    CHECK_EQ(ramet_waitgroup_add(&group, -1), 0);
}

static void *thread_main(void *arg) {
    CHECK_EQ(ramet_event_wait(&event, RAMET_FOREVER), 0);
    take_turns(arg);
    return NULL;
}

static void *join_thread(void *id) {
    CHECK_EQ(pthread_join(*(pthread_t *)id, NULL), 0);
    return NULL;
}

static void threads_and_goroutines(void) {
    pthread_t id[WHO];
    fresh();
    memset(&not_full, 0, sizeof not_full);
    full = goods = 0;
    each_turns = check_many(3000, 200);
    CHECK_EQ(ramet_waitgroup_add(&group, 2 * WHO), 0);
    CHECK_EQ(ramet_sem_release(&sem, 2), 0);
    for (intptr_t i = 0; i < WHO; i++) {
        CHECK_EQ(pthread_create(&id[i], NULL, thread_main, (void *)i), 0);
        check_go(take_turns, (void *)i);
    }
    CHECK_EQ(ramet_event_set(&event), 0);
    CHECK_EQ(ramet_waitgroup_wait(&group, RAMET_FOREVER), 0);
    for (int i = 0; i < WHO; i++) CHECK_EQ(ramet_blocking(join_thread, &id[i], NULL), 0);
    CHECK_EQ(shared, 2 * WHO * each_turns);
    CHECK_EQ(goods, 2 * WHO * ((each_turns + 7) / 8));
    CHECK(!full && !inside);
}

static void outside_a_runtime(void) {
    fresh();
    CHECK_EQ(ramet_mutex_lock(&mutex, RAMET_POLL), -EPERM);
    CHECK_EQ(ramet_event_set(&event), -EPERM);
}

static const check_test tests[] = {
    IN_RUNTIME(mutex_in_order),
    IN_RUNTIME(mutex_is_handed_over),
    IN_RUNTIME(mutex_cancelled),
    IN_RUNTIME(rwmutex_in_order),
    IN_RUNTIME(a_writer_that_gives_up_lets_readers_in),
    IN_RUNTIME(cond_wakes_in_order),
    IN_RUNTIME(cond_cancelled_has_the_lock),
    IN_RUNTIME(semaphore),
    IN_RUNTIME(events),
    IN_RUNTIME(waitgroups),
    IN_RUNTIME(onces),
    IN_RUNTIME(threads_and_goroutines),
    PLAIN(outside_a_runtime),
    {0},
};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
