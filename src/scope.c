/* scope.c: see scope.h. */
#include "scope.h"

static void recompute(rm_g *g) {
    if (g->scope && g->scope->in_force) rm_g_cancel_now(g, RM_CANCEL_SCOPE);
    else g->cancel &= (uint8_t)~RM_CANCEL_SCOPE;
}

/* s comes into force. Whether that is news. */
static bool put_in_force(rm_scope *s) {
    if (s->in_force) return false;
    s->in_force = true;
    if (s->g && s->g->scope == s) recompute(s->g);
    return true;
}

/* top and all below it come into force, but what is shielded; a loop, as a tree may be deeper than any stack. */
static void enforce(rm_scope *top) {
    rm_scope *s = top;
    bool news = put_in_force(s);
    for (;;) {
        if (news && !rm_list_empty(&s->children)) {
            s = rm_list_first(&s->children, rm_scope, sibling);
        } else {
            while (s != top && s->sibling.next == &s->parent->children) s = s->parent;
            if (s == top) return;
            s = rm_list_first(&s->sibling, rm_scope, sibling); /* the next one */
        }
        news = !s->shield && put_in_force(s);
    }
}

static void expired(rm_timer *t) {
    rm_scope *s = rm_container_of(t, rm_scope, timer);
    s->expired = true;
    rm_scope_cancel(s);
}

int rm_scope_set_deadline(rm_scope *s, int64_t deadline) {
    rm_timers *ts = &s->g->p->timers;
    s->deadline = deadline;
    if (deadline == RM_FOREVER) {
        rm_timer_stop(ts, &s->timer);
        return 0;
    }
    if (s->cancelled) return 0;
    int64_t now = rm_load(&s->g->p->now); /* coarse: it may be behind */
    if (deadline > now) return rm_timer_start(ts, &s->timer, now, deadline, 0);
    rm_timer_stop(ts, &s->timer);
    expired(&s->timer);
    return 0;
}

int rm_scope_enter(rm_scope *s, rm_g *g, rm_scope *parent, int64_t deadline, bool shield) {
    memset(s, 0, sizeof *s);
    s->g = g;
    s->outer = g->scope;
    s->parent = parent ? parent : g->scope;
    s->shield = shield;
    rm_list_init(&s->children);
    rm_list_init(&s->sibling);
    s->deadline = RM_FOREVER;
    rm_timer_init(&s->timer, expired);
    if (deadline != RM_FOREVER) {
        int e = rm_scope_set_deadline(s, deadline); /* if it has passed, the body's first wait tells */
        if (e) return e;
    }
    if (s->parent) {
        rm_list_push(&s->parent->children, &s->sibling);
        s->in_force |= s->parent->in_force && !shield;
    }
    g->scope = s;
    if (shield) {
        g->shields++;
        g->cancel_held |= g->cancel & RM_CANCEL_ONCE;
        g->cancel &= (uint8_t)~RM_CANCEL_ONCE;
    }
    recompute(g);
    return 0;
}

bool rm_scope_leave(rm_scope *s) {
    rm_g *g = s->g;
    rm_assert(g->scope == s);
    rm_timer_stop(&g->p->timers, &s->timer);
    rm_list_foreach_safe(it, &s->children) { /* none, unless a group's member outlives it: then it is orphaned */
        rm_scope *child = rm_container_of(it, rm_scope, sibling);
        rm_list_remove(&child->sibling);
        child->parent = NULL;
    }
    rm_list_remove(&s->sibling);
    g->scope = s->outer;
    if (s->shield && --g->shields == 0 && g->cancel_held) {
        g->cancel |= g->cancel_held;
        g->cancel_held = 0;
    }
    recompute(g);
    return s->cancelled;
}

void rm_scope_cancel(rm_scope *s) {
    if (s->cancelled) return;
    s->cancelled = true;
    rm_timer_stop(&s->g->p->timers, &s->timer);
    enforce(s);
}
