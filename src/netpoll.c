/* netpoll.c: waiting for descriptors, above the platform's six functions (netpoll_os.h):
 * descriptors of ours, and the poll itself. netpoll_user.c has those of the user.
 *
 * Two kinds of descriptor.
 *
 * Ours (rm_pd): we close it, so that it is deleted from the poller first. Registered once for both
 * directions, edge-triggered: no system call a wait. The caller clears ready[dir], tries its system
 * call, and waits on EAGAIN; an edge that comes in between has set ready[dir] again or is still in
 * the poller. Everybody who waits for a direction is woken by an edge (one edge may stand for
 * several connections to accept).
 *
 * The user's (rm_watch): may be closed, or closed and opened as something else, at any time, and
 * closing takes it out of the poller without a word. Such a descriptor is polled first and then
 * armed for one event (EPOLLONESHOT), which puts it under a tag of number and seq that outlives
 * nothing: an event of a file that has lost its number finds another seq, or nobody. All watches of
 * one number share one registration. If the number turns out to be another file when it is armed
 * anew, or to be closed (which is looked for before a sleep, at most once a second), those who
 * watched the old one get -EBADF. A descriptor that is both is told apart by the poller's EEXIST;
 * its watches then live on the rm_pd's edges.
 *
 * Tags: 0 is the wake-up; the address of an rm_pd, 16-aligned, below 2^48; fd << 1 | 1; the upper
 * 16 bits are the seq of the record.
 *
 * Sleeping. idle = 1, then a look at the inbox; who posts does it in the other order, and wakes us
 * if it sees idle. `wake` says whether a wake-up is under way, so that many posts cost one write;
 * only its harvest clears it. While the proc spins before it sleeps (NP_WAKE_SPIN) a waker only
 * flips the word.
 *
 * Signals. With hooks.signals a signal that comes between the hook's look and the sleep must not be
 * slept over. Swapping the mask around every sleep costs two system calls; so the first RM_MASK_NS
 * of a sleep are slept without, and only a sleep that outlasts them is entered with all signals
 * blocked, the poller putting the old mask in force. A signal in that window waits at most
 * RM_MASK_NS.
 *
 * All functions: on the proc, or under the owner lock, but rm_netpoll_wake and rm_netpoll_woken. */
#include <pthread.h>

#include "netpoll_int.h"

#define RM_MASK_NS 5000000LL
#define RM_CHECK_NS 1000000000LL
#define RM_PD_CHUNK 64

enum { NP_WAKE_CLEAR = 0, NP_WAKE_SENT = 1, NP_WAKE_SPIN = 2 };
enum { NP_WAKE_AGAIN = -ERESTART }; /* wake_code: the deadline has changed, look at it */

/* ------------------------------------------------------------------ records ---- */

static struct {
    rm_lock lock;
    rm_pd *free;
} np_pds; /* of all runtimes of the process, one after the other or side by side */

static rm_pd *pd_alloc(void) {
    rm_shared_take(&np_pds.lock);
    rm_pd *pd = np_pds.free;
    if (pd) np_pds.free = (rm_pd *)pd->link.next;
    rm_shared_drop(&np_pds.lock);
    if (pd) return pd;
    pd = rm_calloc(RM_PD_CHUNK, sizeof *pd); /* malloc aligns to 16 */
    if (!pd) return NULL;
    rm_shared_take(&np_pds.lock);
    for (int i = 1; i < RM_PD_CHUNK; i++) {
        pd[i].link.next = (rm_list *)np_pds.free;
        np_pds.free = &pd[i];
    }
    rm_shared_drop(&np_pds.lock);
    return pd;
}

static void pd_free(rm_pd *pd) {
    if (pd->rt) rm_list_remove(&pd->link);
    pd->rt = NULL;
    rm_shared_take(&np_pds.lock);
    pd->link.next = (rm_list *)np_pds.free;
    np_pds.free = pd;
    rm_shared_drop(&np_pds.lock);
}

static uint64_t pd_tag(const rm_pd *pd) {
    rm_assert(((uintptr_t)pd & 15) == 0 && (uint64_t)(uintptr_t)pd >> 48 == 0);
    return (uint64_t)pd->seq << 48 | (uintptr_t)pd;
}

rm_np_slot *rm_np_slot_make(struct rm_netpoll *np, int fd) {
    if ((uint32_t)fd >= np->nslots) {
        uint32_t n = np->nslots ? np->nslots : 64;
        while (n <= (uint32_t)fd) n *= 2;
        rm_np_slot *slots = rm_calloc(n, sizeof *slots);
        if (!slots) return NULL;
        if (np->nslots) memcpy(slots, np->slots, np->nslots * sizeof *slots);
        free(np->slots);
        np->slots = slots;
        np->nslots = n;
    }
    return &np->slots[fd];
}

/* ------------------------------------------------------------------ life ---- */

int rm_netpoll_init(rm_rt *rt) {
    struct rm_netpoll *np = rt->p.netpoll;
    if (!np) {
        np = rm_calloc(1, sizeof *np);
        if (!np) return -ENOMEM;
        rm_list_init(&np->pds);
        rm_list_init(&np->users);
    }
    int e = rm_np_open(&np->os);
    if (e) {
        if (!rt->p.netpoll) free(np);
        return e;
    }
    rt->p.netpoll = np;
    rm_list_foreach(l, &np->pds) { /* a forked child: what was open still is */
        rm_pd *pd = rm_container_of(l, rm_pd, link);
        rm_np_add(&np->os, pd->fd, RM_NP_EDGE, pd_tag(pd));
    }
    return 0;
}

void rm_netpoll_fini(rm_rt *rt, bool child_of_fork) {
    struct rm_netpoll *np = rt->p.netpoll;
    if (!np) return;
    if (child_of_fork) np_pds.lock.held = 0; /* another thread may have held it */
    rm_np_close(&np->os);
    rm_list_foreach_safe(l, &np->pds) {
        rm_pd *pd = rm_container_of(l, rm_pd, link);
        pd->users = 0; /* whoever waited will never run again */
        pd->waiters[0] = pd->waiters[1] = (rm_waitq){NULL, NULL};
        pd->watched = false;
        pd->ready[0] = pd->ready[1] = true;
        if (pd->closing) {
            pd_free(pd);
        } else if (!child_of_fork) { /* its owner may close it later still */
            rm_list_remove(&pd->link);
            pd->rt = NULL;
        }
    }
    rm_list_init(&np->users);
    for (uint32_t i = 0; i < np->nslots; i++) {
        rm_np_user *u = np->slots[i].user;
        np->slots[i].user = NULL;
        free(u);
    }
    np->wake = NP_WAKE_CLEAR;
    np->waiting = 0;
    if (child_of_fork) return;
    free(np->slots);
    free(np);
    rt->p.netpoll = NULL;
}

uint32_t rm_netpoll_waiters(const rm_p *p) { return p->netpoll->waiting; }
uint32_t rm_netpoll_fds(const rm_p *p) { return rm_load(&p->netpoll->fds); }

void rm_netpoll_own_fds(const rm_p *p, int *poller, int *waker) {
    *poller = p->netpoll->os.poller;
    *waker = p->netpoll->os.waker;
}

/* ------------------------------------------------------------------ descriptors of ours ---- */

int rm_pd_open(rm_rt *rt, int fd, rm_pd **out) {
    struct rm_netpoll *np = rt->p.netpoll;
    if (fd < 0) return -EBADF;
    rm_np_slot *slot = rm_np_slot_make(np, fd);
    rm_pd *pd = slot ? pd_alloc() : NULL;
    if (!pd) return -ENOMEM;
    pd->fd = fd;
    pd->rt = NULL;
    pd->closing = pd->hup = pd->watched = false;
    pd->ready[0] = pd->ready[1] = false;
    pd->users = 0;
    pd->waiters[0] = pd->waiters[1] = (rm_waitq){NULL, NULL};
    pd->deadline[0] = pd->deadline[1] = RM_FOREVER;
    int e = rm_np_add(&np->os, fd, RM_NP_EDGE, pd_tag(pd));
    if (e == -EEXIST && slot->user && slot->user->added) { /* was the user's: ours from now on */
        slot->user->added = false;
        e = rm_np_add(&np->os, fd, RM_NP_EDGE | RM_NP_AGAIN, pd_tag(pd));
        pd->watched = true;
    }
    if (e) {
        pd_free(pd);
        return e;
    }
    pd->rt = rt;
    rm_list_push(&np->pds, &pd->link);
    slot->pd = pd;
    rm_store(&np->fds, np->fds + 1);
    *out = pd;
    if (slot->user && slot->user->added) { /* that was another file of this number */
        slot->user->added = false;
        rm_np_user_fire(np, slot->user, -EBADF, 0);
    }
    return 0;
}

static void pd_wake(rm_pd *pd, int dir, int code) {
    rm_sudog *s;
    while ((s = rm_waitq_claim(&pd->waiters[dir]))) {
        s->g->wake_code = code;
        rm_ready_tail(&pd->rt->p, s->g);
    }
}

void rm_pd_close(rm_pd *pd) {
    rm_assert(!pd->closing);
    pd->closing = true;
    pd->seq++; /* events that are harvested or due are nobody's now */
    if (pd->rt) {
        struct rm_netpoll *np = pd->rt->p.netpoll;
        rm_np_slot *slot = &np->slots[pd->fd];
        /* if a user's watch is registered, fd was closed behind our back, and is another file
         * now */
        if (!slot->user || !slot->user->added) rm_np_del(&np->os, pd->fd);
        if (slot->pd == pd) slot->pd = NULL;
        rm_store(&np->fds, np->fds - 1);
        pd_wake(pd, RM_NP_READ, -ECONNABORTED);
        pd_wake(pd, RM_NP_WRITE, -ECONNABORTED);
        if (pd->watched) rm_np_user_fire(np, np->slots[pd->fd].user, -EBADF, 0);
    }
    if (!pd->users) pd_free(pd);
}

int rm_pd_wait(rm_pd *pd, rm_g *g, int dir, int64_t deadline) {
    struct rm_netpoll *np = pd->rt->p.netpoll;
    int e = rm_check_cancel(g);
    if (e) return e;
    if (pd->closing) return -ECONNABORTED;
    rm_sudog s = {0};
    rm_reason reason = dir == RM_NP_READ ? RM_R_IO_READ : RM_R_IO_WRITE;
    np->waiting++;
    pd->users++;
    for (;;) {
        int64_t until = pd->deadline[dir] < deadline ? pd->deadline[dir] : deadline;
        e = 0;
        if (pd->ready[dir]) break;
        e = -EAGAIN;
        if (deadline == RAMET_POLL) break;
        e = -ETIMEDOUT;
        if (until != RM_FOREVER && until <= rm_now()) break;
        e = rm_wait_in(&pd->waiters[dir], &s, false, g, reason, pd, until, NULL);
        if (pd->closing && e != -ECANCELED && e != -EINTR) e = -ECONNABORTED; /* a cancel comes but once */
        if (e != NP_WAKE_AGAIN) break;
    }
    np->waiting--;
    if (--pd->users == 0 && pd->closing) pd_free(pd);
    return e;
}

void rm_pd_set_deadline(rm_pd *pd, int dir, int64_t when) {
    pd->deadline[dir] = when;
    if (pd->rt) pd_wake(pd, dir, NP_WAKE_AGAIN);
}

static void pd_event(struct rm_netpoll *np, rm_pd *pd, unsigned what) {
    if (what & (RM_NP_HUP | RM_NP_ERR | RM_NP_PRI)) pd->hup = true;
    if (what & (RM_NP_IN | RM_NP_HUP | RM_NP_ERR)) {
        pd->ready[RM_NP_READ] = true;
        pd_wake(pd, RM_NP_READ, 0);
    }
    if (what & (RM_NP_OUT | RM_NP_HUP | RM_NP_ERR)) {
        pd->ready[RM_NP_WRITE] = true;
        pd_wake(pd, RM_NP_WRITE, 0);
    }
    if (rm_unlikely(pd->watched)) {
        rm_np_user *u = rm_np_user_of(np, pd->fd);
        if (u) rm_np_user_fire(np, u, 0, what);
        pd->watched = u && !rm_list_empty(&u->watches);
    }
}

/* ------------------------------------------------------------------ polling ---- */

static int np_harvest(struct rm_netpoll *np, int n) {
    int handled = 0;
    for (int i = 0; i < n; i++) {
        uint64_t tag = np->events[i].tag;
        unsigned what = np->events[i].what;
        uint16_t seq = (uint16_t)(tag >> 48);
        tag &= (UINT64_C(1) << 48) - 1;
        if (tag == RM_NP_WOKEN) {
            rm_store_seq(&np->wake, NP_WAKE_CLEAR);
        } else if (tag & 1) {
            rm_np_user *u = rm_np_user_of(np, (int)(tag >> 1));
            if (!u || !u->added || u->seq != seq) continue;
            handled++;
            rm_np_user_event(np, u, what);
        } else {
            rm_pd *pd = (rm_pd *)(uintptr_t)tag;
            if (pd->seq != seq || !pd->rt) continue;
            handled++;
            pd_event(np, pd, what);
        }
    }
    return handled;
}

/* Sleep once, owner lock given up. As rm_np_wait; 1 with RM_NP_WOKEN if a spin made the sleep
 * needless. */
static int np_sleep_once(rm_p *p, struct rm_netpoll *np, int64_t timeout, const sigset_t *mask) {
    rm_rt *rt = p->rt;
    int n = 0;
    if (rt->hooks.idle_enter) rt->hooks.idle_enter(rt);
    bool spun = false;
    bool (*spin)(rm_rt *, int64_t) = p->spin;
    if (spin && rm_cas(&np->wake, NP_WAKE_CLEAR, NP_WAKE_SPIN)) {
        int64_t began = rm_now(), until;
        if (__builtin_add_overflow(began, timeout, &until)) until = RM_FOREVER;
        rm_store(&p->idle, RM_IDLE_SPIN); /* who posts need not wake us now */
        spun = spin(rt, until);
        rm_store_seq(&p->idle, RM_IDLE_SLEEP);
        if (rm_load_seq(&p->inbox)) spun = true;
        if (!rm_cas(&np->wake, NP_WAKE_SPIN, NP_WAKE_CLEAR)) { /* woken, without a write */
            rm_store_seq(&np->wake, NP_WAKE_CLEAR);
            spun = true;
        } else if (!spun && timeout != RM_FOREVER) {
            timeout -= rm_now() - began;
            if (timeout < 1) timeout = 1;
        }
    }
    if (spun) {
        np->events[0].tag = RM_NP_WOKEN;
        n = 1;
    } else {
        n = rm_np_wait(&np->os, np->events, RM_POLL_EVENTS, timeout, mask);
    }
    if (rt->hooks.idle_leave) rt->hooks.idle_leave(rt);
    return n;
}

static int np_sleep(rm_p *p, struct rm_netpoll *np, int64_t timeout) {
    rm_rt *rt = p->rt;
    rm_store_seq(&p->idle, RM_IDLE_SLEEP);
    if (rm_load_seq(&p->inbox)) return 0;
    if (rm_unlikely(!rm_list_empty(&np->users)) && np->checked != p->switches) {
        int64_t now = rm_now();
        if (now >= np->check_at) {
            np->check_at = now + RM_CHECK_NS;
            np->checked = p->switches;
            if (rm_np_users_check(np)) return 0;
        } else if (timeout > np->check_at - now) {
            timeout = np->check_at - now;
        }
    }
    if (!rt->hooks.signals) return np_sleep_once(p, np, timeout, NULL);
    if (rt->hooks.signals(rt)) return 0;
    int n = np_sleep_once(p, np, timeout < RM_MASK_NS ? timeout : RM_MASK_NS, NULL);
    if (n || timeout <= RM_MASK_NS) return n;
    if (timeout != RM_FOREVER) timeout -= RM_MASK_NS;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    n = rt->hooks.signals(rt) ? 0 : np_sleep_once(p, np, timeout, &old);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return n;
}

int rm_netpoll(rm_p *p, int64_t timeout) {
    struct rm_netpoll *np = p->netpoll;
    int n = 0;
    if (timeout != 0) {
        n = np_sleep(p, np, timeout);
        rm_store_seq(&p->idle, RM_IDLE_NOT);
    } else if (np->waiting) { /* with nobody waiting, events can wait too */
        n = rm_np_wait(&np->os, np->events, RM_POLL_EVENTS, 0, NULL);
    }
    rm_store(&p->now, rm_now());
    return n > 0 ? np_harvest(np, n) : n;
}

void rm_netpoll_wake(rm_p *p) {
    struct rm_netpoll *np = p->netpoll;
    if (rm_xchg(&np->wake, NP_WAKE_SENT) == NP_WAKE_CLEAR) rm_np_wake(&np->os);
}

bool rm_netpoll_woken(const rm_p *p) { return rm_load(&p->netpoll->wake) != NP_WAKE_SPIN; }
