/* netpoll_epoll.c: the poller of Linux: one epoll, one eventfd. See netpoll_os.h for the contract.
 *
 * The eventfd is registered edge-triggered and never read: every write is an edge of its own, and
 * the counter would take 2^64 wake-ups to fill. A wake-up so costs one write and no read.
 *
 * EPOLLPRI is in the persistent registration although nobody waits for urgent data: a read stops
 * short at the urgent mark with data behind it, and netpoll.c must know that a short read proves
 * nothing then. */
#include "netpoll_os.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/atomic.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441 /* the same number on every architecture; Linux 5.11 */
#endif

int rm_np_open(rm_np_os *os) {
    os->waker = -1;
    os->poller = epoll_create1(EPOLL_CLOEXEC);
    if (os->poller < 0) return -errno;
    os->waker = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = RM_NP_WOKEN};
    if (os->waker < 0 || epoll_ctl(os->poller, EPOLL_CTL_ADD, os->waker, &ev)) {
        int e = -errno;
        rm_np_close(os);
        return e;
    }
    return 0;
}

void rm_np_close(rm_np_os *os) {
    if (os->poller >= 0) close(os->poller);
    if (os->waker >= 0) close(os->waker);
    os->poller = os->waker = -1;
}

int rm_np_add(rm_np_os *os, int fd, unsigned how, uint64_t tag) {
    if (rm_inject_fault("epoll_ctl")) return -ENOMEM;
    struct epoll_event ev = {.data.u64 = tag};
    if (how & RM_NP_EDGE) ev.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;
    else
        ev.events = EPOLLONESHOT | (how & RM_NP_IN ? EPOLLIN | EPOLLRDHUP : 0u) | (how & RM_NP_OUT ? EPOLLOUT : 0u) |
                    (how & RM_NP_PRI ? EPOLLPRI : 0u);
    int op = how & RM_NP_AGAIN ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    return epoll_ctl(os->poller, op, fd, &ev) ? -errno : 0;
}

void rm_np_del(rm_np_os *os, int fd) {
    struct epoll_event ev = {0}; /* Linux before 2.6.9 wants one */
    epoll_ctl(os->poller, EPOLL_CTL_DEL, fd, &ev);
}

/* epoll_pwait2 where there is one, else epoll_pwait with milliseconds, rounded up: to wake early
 * would have the loop spin until the time has come. */
static int epoll_ns(int fd, struct epoll_event *ev, int n, int64_t timeout, const sigset_t *mask) {
    static int no_pwait2; /* atomic */
    if (timeout == 0) return epoll_wait(fd, ev, n, 0);
    if (!rm_load(&no_pwait2)) {
        struct timespec ts = {timeout / 1000000000, timeout % 1000000000};
        long r = syscall(SYS_epoll_pwait2, fd, ev, n, timeout == RM_FOREVER ? NULL : &ts, mask, (size_t)8);
        /* EPERM: an old seccomp filter that does not know the call */
        if (r >= 0 || (errno != ENOSYS && errno != EPERM)) return (int)r;
        rm_store(&no_pwait2, 1);
    }
    int64_t ms = timeout / 1000000 + (timeout % 1000000 != 0);
    if (ms > INT32_MAX) ms = INT32_MAX;
    return epoll_pwait(fd, ev, n, timeout == RM_FOREVER ? -1 : (int)ms, mask);
}

int rm_np_wait(rm_np_os *os, rm_np_event *events, int n, int64_t timeout, const sigset_t *mask) {
    struct epoll_event ev[RM_POLL_EVENTS]; /* 3 KiB, on the loop's stack */
    rm_assert(n <= RM_POLL_EVENTS);
    int r = epoll_ns(os->poller, ev, n, timeout, mask);
    if (r < 0) return -errno;
    for (int i = 0; i < r; i++) {
        uint32_t e = ev[i].events;
        events[i].tag = ev[i].data.u64;
        events[i].what = (e & EPOLLIN ? RM_NP_IN : 0u) | (e & EPOLLOUT ? RM_NP_OUT : 0u) |
                         (e & EPOLLPRI ? RM_NP_PRI : 0u) | (e & EPOLLRDHUP ? RM_NP_HUP : 0u) |
                         (e & (EPOLLERR | EPOLLHUP) ? RM_NP_HUP | RM_NP_ERR : 0u);
    }
    return r;
}

void rm_np_wake(rm_np_os *os) {
    uint64_t one = 1;
    ssize_t r;
    do r = write(os->waker, &one, sizeof one);
    while (r < 0 && errno == EINTR);
}
