/* stack.c: stacks of one size, carved from slabs, kept warm, guarded, trimmed in the background.
 *
 * A slab is one MAP_NORESERVE mapping of slots; a slot is
 *
 *     lo of slot                                                            end of slot
 *     | red page | rest of the guard |          usable stack      <- grows | rm_g (+ args) |
 *
 * Guards are MADV_GUARD_INSTALL where the kernel has it (6.13: no VMA, 0.5-0.8 us, once a slot);
 * else mprotect, up to a budget, because each costs two of the kernel's limited mappings; else a canary
 * at the low end, checked when a goroutine ends.
 *
 * Free slots: a LIFO magazine of the proc (warm, no lock), a depot behind it, and the cold ones whose memory
 * was given back. They stand in arrays, not in lists through the slots: to give one out does not wait for its
 * cache lines. A slot is guarded when it is carved and stays so: trimming does not remove guards. */
#include "stack.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MADV_NOHUGEPAGE
#define MADV_NOHUGEPAGE 15
#endif

#define PAGE 4096u
#define CANARY 0x72616d65745f6f6bULL

enum { GUARD_MADV = 1, GUARD_MPROTECT = 2, GUARD_CANARY = 3 };

typedef struct rm_slab {
    rm_list link;
    char *base;
    size_t bytes;
    uint32_t carved; /* slots */
} rm_slab;

/* Emulators accept MADV_GUARD_INSTALL and do nothing: believe only a page that cannot be written. The
 * write is done by the kernel on our behalf, so that no signal is needed. */
static int probe_guard(void) {
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int how = GUARD_MPROTECT, fd[2];
    if (page == MAP_FAILED) return how;
    if (madvise(page, PAGE, MADV_GUARD_INSTALL) == 0 && pipe(fd) == 0) {
        if (write(fd[1], "x", 1) == 1 && read(fd[0], page, 1) < 0 && errno == EFAULT) how = GUARD_MADV;
        close(fd[0]);
        close(fd[1]);
    }
    munmap(page, PAGE);
    return how;
}

int rm_stacks_init(rm_stacks *s, size_t slot, size_t guard) {
    if (slot == 0) slot = RM_STACK_DEFAULT;
    if (slot > RM_STACK_MAX) return -EINVAL;
    size_t pow2 = RM_STACK_MIN;
    while (pow2 < slot) pow2 *= 2;
    if (guard < RM_RED_BYTES) guard = RM_RED_BYTES;
    guard = (guard + PAGE - 1) & ~(size_t)(PAGE - 1);
    if (guard > pow2 / 2) guard = RM_RED_BYTES;
    memset(s, 0, sizeof *s);
    rm_list_init(&s->slabs);
    s->slot = pow2;
    s->guard = guard;
    s->mprotect_left = 30000;
    s->guard_how = probe_guard();
    return 0;
}

void rm_stacks_fini(rm_stacks *s) {
    rm_list_foreach_safe(it, &s->slabs) {
        rm_slab *slab = rm_container_of(it, rm_slab, link);
        rm_san_unpoison(slab->base, slab->bytes);
        munmap(slab->base, slab->bytes);
        free(slab);
    }
    rm_list_init(&s->slabs);
    free(s->depot);
    free(s->cold);
    s->depot = s->cold = NULL;
    s->depot_n = s->cold_n = s->magazine_n = 0;
}

static int new_slab(rm_stacks *s) {
    rm_slab *slab = rm_malloc(sizeof *slab);
    if (!slab) return -ENOMEM;
    /* where overcommit is refused, ask for less and less */
    size_t bytes = s->slot > RM_SLAB_BYTES ? s->slot : RM_SLAB_BYTES;
    void *base = MAP_FAILED;
    if (!rm_inject_fault("mmap"))
        for (;; bytes /= 2) {
            base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK,
                        -1, 0);
            if (base != MAP_FAILED || bytes / 2 < s->slot) break;
        }
    if (base == MAP_FAILED) {
        free(slab);
        return -ENOMEM;
    }
    madvise(base, bytes, MADV_NOHUGEPAGE); /* else one goroutine may cost 2 MiB */
    slab->base = base;
    slab->bytes = bytes;
    slab->carved = 0;
    rm_list_push(&s->slabs, &slab->link);
    s->carve = base;
    s->carve_end = s->carve + bytes / s->slot * s->slot;
    return 0;
}

static void install_guard(rm_stacks *s, char *base) {
    if (s->guard_how == GUARD_MADV) {
        if (madvise(base, s->guard, MADV_GUARD_INSTALL) == 0) return;
        s->guard_how = GUARD_MPROTECT; /* EINVAL: mlockall */
    }
    if (s->guard_how == GUARD_MPROTECT) {
        if (s->mprotect_left > 0 && mprotect(base, s->guard, PROT_NONE) == 0) {
            s->mprotect_left--;
            return;
        }
        s->guard_how = GUARD_CANARY;
    }
    *(uint64_t *)(base + s->guard) = CANARY;
}

/* Where the control block of the i-th slot of a slab stands. Not at the same place in every top page: the caches would
 * have room for only some 12 (first level) or 512 (second level) lines at one place, for all goroutines together. */
static rm_g *slot_g(const rm_stacks *s, char *base, uint32_t i) {
    size_t colour = (i % RM_COLOURS) * RM_COLOUR_BYTES;
    return (rm_g *)((uintptr_t)(base + s->slot - colour - sizeof(rm_g)) & ~(uintptr_t)63);
}

/* Room in depot and cold for one slot more. */
static int make_room(rm_stacks *s) {
    if (s->carved < s->room) return 0;
    uint64_t room = s->room ? 2 * s->room : 1024;
    rm_g **depot = rm_malloc(room * sizeof *depot), **cold = rm_malloc(room * sizeof *cold);
    if (!depot || !cold) {
        free(depot);
        free(cold);
        return -ENOMEM;
    }
    if (s->depot_n) memcpy(depot, s->depot, s->depot_n * sizeof *depot);
    if (s->cold_n) memcpy(cold, s->cold, s->cold_n * sizeof *cold);
    free(s->depot);
    free(s->cold);
    s->depot = depot;
    s->cold = cold;
    s->room = room;
    return 0;
}

static rm_g *carve(rm_stacks *s) {
    if (make_room(s) || (s->carve == s->carve_end && new_slab(s))) return NULL;
    char *base = s->carve;
    s->carve += s->slot;
    s->carved++;
    install_guard(s, base);
    rm_slab *slab = rm_container_of(s->slabs.prev, rm_slab, link);
    rm_g *g = slot_g(s, base, slab->carved);
    g->lo = base + s->guard;
    slab->carved++;
    rm_san_stack(g->lo, (char *)g);
#if defined(RM_TSAN)
    /* one fiber a slot, never destroyed: a race with a fiber that is gone would not be reported */
    g->tsan_fiber = __tsan_create_fiber(0);
#endif
    return g;
}

static rm_g *alloc_slow(rm_stacks *s, bool owner) {
    rm_g *g;
    rm_shared_take(&s->lock);
    if (s->depot_n) {
        uint32_t n = s->depot_n - 1;
        g = s->depot[n];
        if (owner) { /* and a batch for the magazine, which is empty */
            uint32_t batch = n < RM_MAGAZINE ? n : RM_MAGAZINE;
            n -= batch;
            memcpy(s->magazine, s->depot + n, batch * sizeof *s->depot);
            s->magazine_n = batch;
        }
        rm_store(&s->depot_n, n);
    } else if (s->cold_n) {
        g = s->cold[s->cold_n - 1];
        rm_store(&s->cold_n, s->cold_n - 1);
        if (s->guard_how == GUARD_CANARY) *(uint64_t *)g->lo = CANARY;
    } else {
        g = carve(s);
    }
    rm_shared_drop(&s->lock);
    return g;
}

rm_g *rm_stack_alloc(rm_stacks *s, bool owner) {
    rm_g *g;
    if (rm_likely(owner && s->magazine_n)) {
        g = s->magazine[--s->magazine_n];
        if (s->magazine_n > 1) { /* whoever starts one often starts more: fetch the one after next */
            const char *ahead = (const char *)s->magazine[s->magazine_n - 2];
            for (size_t i = 0; i < sizeof(rm_g); i += 64) __builtin_prefetch(ahead + i, 1);
        }
    } else {
        g = alloc_slow(s, owner);
    }
    if (g) rm_san_unpoison(g->lo, (size_t)((char *)g - g->lo)); /* of whoever had it before */
    return g;
}

void rm_stack_free(rm_stacks *s, rm_g *g, bool owner) {
    if (rm_unlikely(s->guard_how == GUARD_CANARY)) rm_stack_check(s, g);
    if (rm_unlikely(!owner || s->magazine_n == 2 * RM_MAGAZINE)) {
        rm_shared_take(&s->lock);
        if (owner) { /* the older half goes; g is kept: its goroutine may still stand on it */
            memcpy(s->depot + s->depot_n, s->magazine, RM_MAGAZINE * sizeof *s->depot);
            rm_store(&s->depot_n, s->depot_n + RM_MAGAZINE);
            memmove(s->magazine, s->magazine + RM_MAGAZINE, RM_MAGAZINE * sizeof *s->magazine);
            s->magazine_n = RM_MAGAZINE;
        } else {
            s->depot[s->depot_n] = g;
            rm_store(&s->depot_n, s->depot_n + 1);
        }
        rm_shared_drop(&s->lock);
        if (!owner) return;
    }
    s->magazine[s->magazine_n++] = g;
}

void rm_stacks_each(rm_stacks *s, bool (*fn)(rm_g *, void *), void *arg) {
    rm_list_foreach(it, &s->slabs) {
        rm_slab *slab = rm_container_of(it, rm_slab, link);
        for (uint32_t i = 0; i < slab->carved; i++)
            if (!fn(slot_g(s, slab->base + i * s->slot, i), arg)) return;
    }
}

int rm_stacks_trim(rm_stacks *s, int n) {
    int done = 0;
    for (; done < n; done++) {
        rm_shared_take(&s->lock);
        rm_g *g = s->depot_n ? s->depot[0] : NULL; /* the oldest; the newest takes its place */
        if (g) {
            s->depot[0] = s->depot[s->depot_n - 1];
            rm_store(&s->depot_n, s->depot_n - 1);
        }
        rm_shared_drop(&s->lock);
        if (!g) break;
        /* all but the page of the control block, which holds the links and `lo` */
        char *end = (char *)((uintptr_t)g & ~(uintptr_t)(PAGE - 1));
        if (end > g->lo) madvise(g->lo, (size_t)(end - g->lo), MADV_DONTNEED);
        rm_shared_take(&s->lock);
        s->cold[s->cold_n] = g;
        rm_store(&s->cold_n, s->cold_n + 1);
        rm_shared_drop(&s->lock);
    }
    return done;
}

bool rm_stack_in_guard(const rm_stacks *s, const rm_g *g, const void *addr) {
    const char *a = addr;
    return g->lo && a < g->lo && a >= g->lo - s->guard;
}

int rm_stack_open_guard(const rm_stacks *s, rm_g *g, size_t bytes) {
    size_t most = s->guard - RM_RED_BYTES;
    if (most == 0 || s->guard_how == GUARD_CANARY) return -EINVAL;
    size_t n = (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
    if (n > most) n = most;
    char *from = g->lo - n;
    int e =
        s->guard_how == GUARD_MADV ? madvise(from, n, MADV_GUARD_REMOVE) : mprotect(from, n, PROT_READ | PROT_WRITE);
    return e ? -errno : 0;
}

int rm_stack_close_guard(const rm_stacks *s, rm_g *g) {
    char *from = g->lo - s->guard + RM_RED_BYTES;
    size_t n = s->guard - RM_RED_BYTES;
    if (n == 0 || s->guard_how == GUARD_CANARY) return -EINVAL;
    int e = s->guard_how == GUARD_MADV ? madvise(from, n, MADV_GUARD_INSTALL) : mprotect(from, n, PROT_NONE);
    return e ? -errno : 0;
}

void rm_stack_check(const rm_stacks *s, const rm_g *g) {
    if (s->guard_how != GUARD_CANARY || *(const uint64_t *)g->lo == CANARY) return;
    /* slots that got a real guard before the budget ran out have no canary, and no need of one */
    if (*(const uint64_t *)g->lo == 0) return;
    fprintf(stderr, "ramet: goroutine %llu (%s): stack overflow found at its end (no guard pages left)\n",
            (unsigned long long)g->id, g->name);
    abort();
}
