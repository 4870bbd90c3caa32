/* select.c: Go's select.
 *
 * 1. Look, without locks, which cases could run, and pick one of them uniformly at random (reservoir
 *    sampling). Lock that one channel and do it. In a serialised runtime what was seen is still so; in a
 *    locked one another thread may have been faster: then look again under all locks.
 * 2. Under all locks (in address order, each once) look again; else stand in every queue, in random order
 *    (that decides between duplicates of a channel), and park.
 * 3. The waker that claims us names the winning sudog; the others are taken off their queues, O(1) each.
 *
 * A waker that finds our sudog and cannot claim us takes it off and leaves its own value alone: exactly one case runs.
 * The same channel may stand in several cases and both directions; we never meet ourselves, because we
 * look before we stand in any queue. */
#include "select.h"

#include "base/rand.h"

#define FEW 8 /* cases whose sudogs fit on the stack */

/* Whether one waits that can still be claimed. Sudogs stand on the stacks of those who wait, who may go at any moment
 * where other threads wake them: without the lock (`look`: not held) a queue that is not empty must do. */
static bool waiting(const rm_waitq *q, bool look) {
    if (rm_locked() && look) return rm_load(&q->first) != NULL;
    for (const rm_sudog *s = q->first; s; s = s->next)
        if (rm_load(&s->g->wake) == RM_WAKE_OPEN) return true;
    return false;
}

static bool ready(const rm_case *k, bool look) {
    const rm_chan *c = k->chan;
    if (!c) return false;
    if (k->dir == RAMET_SEND) return rm_load(&c->n) < c->cap || rm_load(&c->closed) || waiting(&c->recvq, look);
    return rm_load(&c->n) > 0 || rm_load(&c->closed) || waiting(&c->sendq, look);
}

/* A ready case, uniformly at random; -1: none. */
static int choose(const rm_case *cases, int n, uint64_t *rand, bool look) {
    int pick = -1;
    uint32_t seen = 0;
    for (int i = 0; i < n; i++)
        if (ready(&cases[i], look) && (++seen == 1 || rm_rand_below(rand, seen) == 0)) pick = i;
    return pick;
}

/* Under the channel's lock. The result of the select, or -EAGAIN if the case cannot run after all. */
static int run_case(rm_case *k, int i, rm_g **woken) {
    rm_chan *c = k->chan;
    size_t size = c->elem;
    bool word = size == sizeof(uintptr_t); /* most are: its moves are compiled as such */
    if (k->dir == RAMET_SEND) {
        k->ok = false;
        if (c->closed) return -EPIPE;
        if (!(word ? rm_chan_put(c, k->elem, sizeof(uintptr_t), woken) : rm_chan_put(c, k->elem, size, woken)))
            return -EAGAIN;
        k->ok = true;
        return i;
    }
    k->ok = word ? rm_chan_take(c, k->elem, sizeof(uintptr_t), woken) : rm_chan_take(c, k->elem, size, woken);
    if (k->ok) return i;
    if (!c->closed) return -EAGAIN;
    if (k->elem) memset(k->elem, 0, size);
    return i;
}

/* The channels to lock: each once, in address order. Only in locked mode. */
typedef struct lockset {
    rm_chan **chans;
    int n;
} lockset;

static int by_address(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)*(rm_chan *const *)a, y = (uintptr_t)*(rm_chan *const *)b;
    return x < y ? -1 : x > y;
}

static void lock_all(lockset *l, const rm_case *cases, int n) {
    int m = 0;
    for (int i = 0; i < n; i++)
        if (cases[i].chan) l->chans[m++] = cases[i].chan;
    if (m <= 16) { /* insertion sort; qsort may allocate */
        for (int i = 1; i < m; i++) {
            rm_chan *c = l->chans[i];
            int k = i;
            for (; k > 0 && l->chans[k - 1] > c; k--) l->chans[k] = l->chans[k - 1];
            l->chans[k] = c;
        }
    } else {
        qsort(l->chans, (size_t)m, sizeof *l->chans, by_address);
    }
    l->n = 0;
    for (int i = 0; i < m; i++)
        if (i == 0 || l->chans[i] != l->chans[l->n - 1]) l->chans[l->n++] = l->chans[i];
    for (int i = 0; i < l->n; i++) rm_lock_take(&l->chans[i]->lock);
}

/* Called by whoever runs after the park. After the last unlock the goroutine may run elsewhere and its stack,
 * where the set stands, is not to be touched. */
static void unlock_all(rm_g *g, void *arg) {
    (void)g;
    lockset *l = arg;
    rm_chan **chans = l->chans;
    for (int i = 0, n = l->n; i < n; i++) {
        rm_chan *c = chans[i];
        rm_lock_drop(&c->lock);
    }
}

static int select_blocking(rm_g *g, rm_case *cases, int n, int64_t deadline, rm_sudog *sudogs, uint16_t *order,
                           lockset *locks, uint64_t *rand) {
    int m = 0;
    if (rm_locked()) {
        rm_g *woken = NULL;
        lock_all(locks, cases, n);
        int i;
        while ((i = choose(cases, n, rand, false)) >= 0) {
            int e = run_case(&cases[i], i, &woken);
            if (e == -EAGAIN) continue; /* a waiter's time ran out just now, which takes no lock; it is off the queue */
            unlock_all(g, locks);
            if (woken) rm_ready(woken);
            return e;
        }
        if (deadline == RAMET_POLL) {
            unlock_all(g, locks);
            return -EAGAIN;
        }
    }
    for (int i = 0; i < n; i++) { /* Fisher-Yates, inside out, leaving nil channels out */
        if (!cases[i].chan) continue;
        int k = (int)rm_rand_below(rand, (uint32_t)++m);
        order[m - 1] = order[k];
        order[k] = (uint16_t)i;
    }
    rm_wait_open(g);
    for (int k = 0; k < m; k++) {
        rm_case *c = &cases[order[k]];
        rm_sudog *s = &sudogs[k];
        s->g = g;
        s->elem = c->elem;
        s->index = order[k];
        s->ok = false;
        rm_waitq_push(c->dir == RAMET_SEND ? &c->chan->sendq : &c->chan->recvq, s);
    }
    const void *on = m == 1 ? cases[order[0]].chan : NULL;
    int e = g->p ? rm_park(g, RM_R_SELECT, on, deadline, unlock_all, locks)
                 : rm_park_standing(sudogs, m, RM_R_SELECT, on, deadline, unlock_all, locks);
    rm_sudog *won = e == 0 ? g->wake_sudog : NULL;
    for (int k = 0; k < m; k++) {
        rm_sudog *s = &sudogs[k];
        rm_case *c = &cases[s->index];
        if (!rm_load_acq(&s->queued)) continue; /* taken off by the waker, and the channel perhaps freed since */
        rm_lock_take(&c->chan->lock);
        if (s->queued) rm_waitq_remove(c->dir == RAMET_SEND ? &c->chan->sendq : &c->chan->recvq, s);
        rm_lock_drop(&c->chan->lock);
    }
    if (!won) return e;
    rm_case *c = &cases[won->index];
    c->ok = won->ok;
    return !won->ok && c->dir == RAMET_SEND ? -EPIPE : (int)won->index;
}

static rm_noinline int select_few(rm_g *g, rm_case *cases, int n, int64_t deadline, uint64_t *rand) {
    rm_sudog *sudogs = __builtin_alloca((size_t)n * sizeof *sudogs); /* no more than is needed: many park here */
    uint16_t order[FEW];
    lockset locks = {rm_locked() ? __builtin_alloca((size_t)n * sizeof *locks.chans) : NULL, 0};
    return select_blocking(g, cases, n, deadline, sudogs, order, &locks, rand);
}

static rm_noinline int select_many(rm_g *g, rm_case *cases, int n, int64_t deadline, uint64_t *rand) {
    size_t one = sizeof(rm_sudog) + sizeof(rm_chan *) + sizeof(uint16_t);
    char *mem = rm_malloc(one * (size_t)n);
    if (!mem) return -ENOMEM;
    rm_sudog *sudogs = (rm_sudog *)mem;
    rm_chan **chans = (rm_chan **)(sudogs + n);
    lockset locks = {chans, 0};
    int e = select_blocking(g, cases, n, deadline, sudogs, (uint16_t *)(chans + n), &locks, rand);
    free(mem);
    return e;
}

int rm_select(rm_g *g, rm_case *cases, int n, int64_t deadline) {
    int e = rm_check_cancel(g);
    if (e) return e;
    if (n < 0 || n > RAMET_SELECT_MAX) return -EINVAL;
    uint64_t foreign = g->p ? 0 : (uint64_t)rm_now(), *rand = g->p ? &g->p->rand : &foreign;
    int i = choose(cases, n, rand, true);
    if (i >= 0) {
        rm_g *woken = NULL;
        rm_chan *c = cases[i].chan;
        rm_lock_take(&c->lock);
        e = run_case(&cases[i], i, &woken);
        rm_lock_drop(&c->lock);
        if (rm_likely(e != -EAGAIN)) {
            if (woken) rm_ready(woken);
            return e;
        }
    }
    if (deadline == RAMET_POLL && !rm_locked()) return -EAGAIN;
    return n <= FEW ? select_few(g, cases, n, deadline, rand) : select_many(g, cases, n, deadline, rand);
}
