/* netpoll_user.c: waiting for descriptors that are not ours: rm_watch, rm_fd_wait. netpoll.c has
 * the rules.
 *
 * Invariants: u is in rm_netpoll.users exactly while it has watches; every armed watch is counted
 * in `waiting`; if u has watches, either the poller has it armed (`added`) for at least their
 * events, or they hang on the edges of the rm_pd of the same file. Only the first waits for another
 * arming after an event.
 *
 * All functions: on the proc, or under the owner lock. */
#include <fcntl.h>
#include <poll.h>

#include "netpoll_int.h"

static uint64_t user_tag(const rm_np_user *u) { return (uint64_t)u->seq << 48 | (uint64_t)(uint32_t)u->fd << 1 | 1; }

rm_inline unsigned user_os_events(int events) {
    return (events & RAMET_READABLE ? RM_NP_IN : 0u) | (events & RAMET_WRITABLE ? RM_NP_OUT : 0u) |
           (events & RM_FD_PRIORITY ? RM_NP_PRI : 0u);
}

/* What of `events` the poller's `what` makes ready; an error or the other end's end makes
 * everything so. */
static int user_ready(int events, unsigned what) {
    int r = (what & (RM_NP_IN | RM_NP_HUP) ? RAMET_READABLE : 0) | (what & RM_NP_OUT ? RAMET_WRITABLE : 0) |
            (what & RM_NP_PRI ? RM_FD_PRIORITY : 0);
    r &= events;
    return !r && what & RM_NP_ERR ? events : r;
}

/* Ask now: the events that are ready, 0, or -errno. */
static int user_poll(int fd, int events) {
    struct pollfd pf = {.fd = fd};
    pf.events = (short)((events & RAMET_READABLE ? POLLIN : 0) | (events & RAMET_WRITABLE ? POLLOUT : 0) |
                        (events & RM_FD_PRIORITY ? POLLPRI : 0));
    int r;
    do r = poll(&pf, 1, 0);
    while (r < 0 && errno == EINTR);
    if (r < 0) return -errno;
    if (r == 0) return 0;
    if (pf.revents & POLLNVAL) return -EBADF;
    int what = (pf.revents & (POLLIN | POLLHUP) ? RAMET_READABLE : 0) | (pf.revents & POLLOUT ? RAMET_WRITABLE : 0) |
               (pf.revents & POLLPRI ? RM_FD_PRIORITY : 0);
    what &= events;
    return what ? what : events; /* an error, or the other end is gone: nothing will block */
}

/* First off their list, then called: a callback may start and stop others, of the same
 * descriptor too. */
void rm_np_user_fire(struct rm_netpoll *np, rm_np_user *u, int error, unsigned what) {
    rm_list fired;
    rm_list_init(&fired);
    rm_list_foreach_safe(l, &u->watches) {
        rm_watch *w = rm_container_of(l, rm_watch, link);
        if (!error && !user_ready(w->events, what)) continue;
        rm_list_remove(l);
        rm_list_push(&fired, l);
    }
    if (rm_list_empty(&u->watches)) rm_list_remove(&u->link);
    while (!rm_list_empty(&fired)) {
        rm_watch *w = rm_list_first(&fired, rm_watch, link);
        rm_list_remove(&w->link);
        w->armed = false;
        np->waiting--;
        w->fn(w, error ? error : user_ready(w->events, what));
    }
}

rm_inline unsigned user_wanted(const rm_np_user *u) {
    unsigned want = 0;
    rm_list_foreach(l, &u->watches) { want |= user_os_events(rm_container_of(l, rm_watch, link)->events); }
    return want;
}

/* Have the poller report any of `want` once. 0; 1: always ready; -errno. May fire older watches
 * with -EBADF. */
static int user_arm(struct rm_netpoll *np, rm_np_user *u, unsigned want) {
    int e;
    bool hung = !u->added && !rm_list_empty(&u->watches); /* on the edges of an rm_pd */
    if (u->added) {
        e = rm_np_add(&np->os, u->fd, want | RM_NP_AGAIN, user_tag(u));
        if (e != -ENOENT && e != -EBADF) return e;
        u->added = false; /* closed, or closed and another file now */
        rm_np_user_fire(np, u, -EBADF, 0);
        if (e == -EBADF) return e;
    }
    u->seq++;
    e = rm_np_add(&np->os, u->fd, want, user_tag(u));
    if (e == -EEXIST && np->slots[u->fd].pd) {
        np->slots[u->fd].pd->watched = true;
        return 0;
    }
    /* EEXIST without an rm_pd: the file came back to its number (dup2), its old registration
     * with it */
    if (e == -EEXIST) e = rm_np_add(&np->os, u->fd, want | RM_NP_AGAIN, user_tag(u));
    if (e == 0) u->added = true;
    if (hung && e != -ENOMEM) rm_np_user_fire(np, u, -EBADF, 0); /* another file than the rm_pd's */
    return e == -EPERM ? 1 : e;
}

void rm_np_user_event(struct rm_netpoll *np, rm_np_user *u, unsigned what) {
    if (rm_list_empty(&u->watches)) return;
    rm_np_user_fire(np, u, 0, what);
    unsigned want = user_wanted(u);
    if (want && user_arm(np, u, want)) rm_np_user_fire(np, u, -EBADF, 0);
}

int rm_watch_start(rm_rt *rt, rm_watch *w) {
    struct rm_netpoll *np = rt->p.netpoll;
    w->armed = false;
    int e = user_poll(w->fd, w->events);
    if (e) return e;
    rm_np_slot *slot = w->fd < 0 ? NULL : rm_np_slot_make(np, w->fd);
    if (!slot) return w->fd < 0 ? -EBADF : -ENOMEM; /* poll(2) overlooks negative descriptors */
    rm_np_user *u = slot->user;
    if (!u) {
        u = rm_calloc(1, sizeof *u);
        if (!u) return -ENOMEM;
        u->fd = w->fd;
        rm_list_init(&u->watches);
        rm_list_init(&u->link);
        slot->user = u;
    }
    e = user_arm(np, u, user_wanted(u) | user_os_events(w->events));
    if (e) return e > 0 ? w->events : e;
    w->armed = true;
    rm_list_push(&u->watches, &w->link);
    if (rm_list_empty(&u->link)) rm_list_push(&np->users, &u->link);
    np->waiting++;
    return 0;
}

/* The registration stays armed: its event then finds nobody, which is cheaper than a system call
 * here. */
void rm_watch_stop(rm_rt *rt, rm_watch *w) {
    if (!w->armed) return;
    struct rm_netpoll *np = rt->p.netpoll;
    rm_np_user *u = rm_np_user_of(np, w->fd);
    w->armed = false;
    rm_list_remove(&w->link);
    np->waiting--;
    if (rm_list_empty(&u->watches)) rm_list_remove(&u->link);
}

void rm_fd_closing(rm_rt *rt, int fd) {
    struct rm_netpoll *np = rt->p.netpoll;
    rm_np_user *u = rm_np_user_of(np, fd);
    if (!u) return;
    if (u->added) rm_np_del(&np->os, fd);
    u->added = false;
    rm_np_user_fire(np, u, -EBADF, 0);
}

bool rm_np_users_check(struct rm_netpoll *np) {
    bool any = false;
again:
    rm_list_foreach(l, &np->users) {
        rm_np_user *u = rm_container_of(l, rm_np_user, link);
        if (fcntl(u->fd, F_GETFD) >= 0) continue;
        any = true;
        u->added = false;
        rm_np_user_fire(np, u, -EBADF, 0);
        goto again; /* the callbacks may have changed the list */
    }
    return any;
}

typedef struct fd_waiter {
    rm_watch w;
    rm_g *g;
    int got;
} fd_waiter;

static void fd_waiter_fire(rm_watch *w, int events) {
    fd_waiter *fw = rm_container_of(w, fd_waiter, w);
    rm_g *g = fw->g;
    fw->got = events;
    if (rm_claim(g)) rm_ready_tail(g->p, g);
}

int rm_fd_wait(rm_rt *rt, rm_g *g, int fd, int events, int64_t deadline) {
    int e = rm_check_cancel(g);
    if (e) return e;
    if (deadline == RAMET_POLL) {
        e = fd < 0 ? -EBADF : user_poll(fd, events);
        return e ? e : -EAGAIN;
    }
    fd_waiter fw = {.w = {.fd = fd, .events = events, .fn = fd_waiter_fire}, .g = g};
    for (;;) { /* after a wake-up it is polled again: another waiter may have read it empty */
        fw.got = 0;
        e = rm_watch_start(rt, &fw.w);
        if (e) return e;
        rm_wait_open(g);
        e = rm_park(g, events & RAMET_READABLE ? RM_R_IO_READ : RM_R_IO_WRITE, NULL, deadline, NULL, NULL);
        rm_watch_stop(rt, &fw.w);
        if (e) return e;
        if (fw.got < 0) return fw.got;
    }
}
