/* dump.c: see dump.h. */
#include "dump.h"

const char *rm_g_state(const rm_g *g) {
    switch (g->state) {
    case RM_RUNNABLE:
        return "runnable";
    case RM_RUNNING:
        return "running";
    case RM_WAITING:
        return rm_reason_names[g->reason < RM_R_MAX ? g->reason : RM_R_NONE];
    default:
        return "done";
    }
}

typedef struct dump {
    FILE *out;
    int64_t now;
} dump;

static bool dump_one(rm_g *g, void *arg) {
    dump *d = arg;
    fprintf(d->out, "goroutine %llu", (unsigned long long)g->id);
    if (g->name[0]) fprintf(d->out, " \"%.*s\"", RM_NAME_MAX, g->name);
    fprintf(d->out, " [%s", rm_g_state(g));
    if (g->state == RM_WAITING) {
        if (g->wait_obj) fprintf(d->out, " %p", g->wait_obj);
        fprintf(d->out, ", %.1f s", (double)(d->now - g->since) / 1e9);
    }
    fprintf(d->out, "]");
    if (g->creator) fprintf(d->out, " started by %llu", (unsigned long long)g->creator);
    fprintf(d->out, "\n");
    return true;
}

void rm_dump(rm_rt *rt, FILE *out) {
    dump d = {out, rm_now()};
    rm_rt_each(rt, dump_one, &d);
}
