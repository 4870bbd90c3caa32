/* arena.c: an arena allocator that keeps a few 16 KiB chunks.
 *
 * CPython takes the chunks of its data stack from the arena allocator, by mmap. A loop of calls that sits on
 * a chunk boundary maps and unmaps one a call: 6 us instead of 40 ns (late 3.13 and 3.14 keep one themselves), and
 * goroutines, whose first chunk is small, would meet it often. Other sizes are passed on, and so is what
 * comes back: a block of the free list came from the allocator below, and so did every block from before.
 *
 * The allocator is the process's, but interpreters with a GIL of their own call it at the same time: hence
 * the lock, which covers everything but `below`: that is set before the hook is in place. They may be in the middle of an
 * allocation when the hook comes or goes: so it keeps the `ctx` of the allocator below, and either function may find it. */
#include "arena.h"

#include <Python.h>

#include "base/atomic.h"

#define CHUNK (16u << 10)
#define KEEP 64

static rm_lock lock;
static PyObjectArenaAllocator below;
static void *kept[KEEP];
static int nkept;
static int users;
static bool hooked; /* our functions are in the chain, at its top or under somebody else's */

static void *arena_alloc(void *ctx, size_t size) {
    (void)ctx;
    void *p = NULL;
    if (size == CHUNK) {
        rm_shared_take(&lock);
        if (nkept) p = kept[--nkept];
        rm_shared_drop(&lock);
    }
    return p ? p : below.alloc(below.ctx, size);
}

static void arena_free(void *ctx, void *p, size_t size) {
    (void)ctx;
    if (size == CHUNK) {
        rm_shared_take(&lock);
        bool keep = users && nkept < KEEP;
        if (keep) kept[nkept++] = p;
        rm_shared_drop(&lock);
        if (keep) return;
    }
    below.free(below.ctx, p, size);
}

void rm_arena_install(void) {
    rm_shared_take(&lock);
    users++;
    if (!hooked) {
        PyObject_GetArenaAllocator(&below);
        PyObjectArenaAllocator ours = {below.ctx, arena_alloc, arena_free};
        PyObject_SetArenaAllocator(&ours);
        hooked = true;
    }
    rm_shared_drop(&lock);
}

/* The hook stays if somebody stands above it; then it only passes on. */
void rm_arena_uninstall(void) {
    rm_shared_take(&lock);
    if (users && --users == 0) {
        while (nkept) below.free(below.ctx, kept[--nkept], CHUNK);
        PyObjectArenaAllocator now;
        PyObject_GetArenaAllocator(&now);
        if (now.alloc == arena_alloc) {
            PyObject_SetArenaAllocator(&below);
            hooked = false;
        }
    }
    rm_shared_drop(&lock);
}

int rm_arena_installed(void) {
    PyObjectArenaAllocator now;
    rm_shared_take(&lock);
    PyObject_GetArenaAllocator(&now);
    int how = !hooked ? 0 : now.alloc == arena_alloc ? 1 : 2;
    rm_shared_drop(&lock);
    return how;
}
