/* scope.h: cancellation is one tree of scopes; timeouts, groups and contexts are views of it.
 *
 * A scope is entered by one goroutine and left by it, in stack order; its parent is what was innermost at
 * enter, or, for the first of a goroutine that a group started, a scope of the group's. Cancelling marks
 * the scope and everything below it, stopping at shields, and wakes the goroutines whose innermost scope
 * was reached. Invariant: g->cancel has RM_CANCEL_SCOPE exactly when g->scope is `in_force`.
 * All functions: owner of the proc. */
#ifndef RM_SCOPE_H
#define RM_SCOPE_H

#include "park.h"

struct rm_scope {
    rm_scope *parent; /* NULL at the root */
    rm_scope *outer;  /* what was the goroutine's innermost before */
    rm_g *g;
    rm_list children, sibling;
    rm_timer timer;
    int64_t deadline;
    bool cancelled; /* it itself was cancelled, or expired */
    bool expired;   /* ... by its deadline */
    bool in_force;  /* it or an ancestor is, no shield between */
    bool shield;
};

/* parent NULL: g's innermost. 0, or -ENOMEM (nothing entered). */
int rm_scope_enter(rm_scope *s, rm_g *g, rm_scope *parent, int64_t deadline, bool shield);
/* True if s itself was cancelled. */
bool rm_scope_leave(rm_scope *s);
void rm_scope_cancel(rm_scope *s);
int rm_scope_set_deadline(rm_scope *s, int64_t deadline);

#endif
