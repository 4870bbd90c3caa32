/* common.h: what every C benchmark program shares: options, clocks, the measuring loop, printing.
 *
 * The options and the rows' meaning are those of ../python/common.py; each program does one sample
 * of the row it is given and prints one JSON line. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    START_BATCH = 10000, /* goroutines started and joined in one round of startmany */
    CHUNK = 16384,       /* what a server reads at once */
    PERIOD = 64,         /* of the order in which the select rows send */
    KEYS = 1000          /* of the line protocol */
};
#define COUNT_LIMIT (INT64_C(1) << 30)

typedef struct options {
    double time; /* seconds a sample should last at least */
    int n;       /* goroutines, cases, sleepers, ... of the row */
    double gap;  /* seconds between two blocking calls */
    bool locked; /* ramet's mode */
    int parked, sleepers, conns; /* what stands still beside the row */
} options;

static inline int64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}
static inline int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
static inline int64_t cpu_ns(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

/* Call round(arg, n) -> ns with growing n until one round lasts long enough; its ns per operation. */
static inline double measure(const options *o, int64_t first, int64_t (*round)(void *arg, int64_t n), void *arg) {
    double want = o->time * 1e9;
    int64_t n = first;
    round(arg, n); /* thrown away: code, stacks and caches are warm from here on */
    for (;;) {
        double t = (double)round(arg, n);
        if (t >= want || n >= COUNT_LIMIT) return t / (double)n;
        double factor = 1.3 * want / (t > 1 ? t : 1);
        factor = factor < 2 ? 2 : factor > 20 ? 20 : factor;
        n = (int64_t)((double)n * factor);
        if (n > COUNT_LIMIT) n = COUNT_LIMIT;
    }
}

/* Memory of this process in bytes: resident pages and page tables. */
static inline double resident(void) {
    char line[256];
    double total = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "VmRSS:", 6) || !strncmp(line, "VmPTE:", 6)) total += atof(line + 6) * 1024;
    if (f) fclose(f);
    return total;
}

/* Nanoseconds that sleeper number i sleeps: spread over 0.1 ... 0.3 s in no order. */
static inline int64_t sleep_for(int i) { return 100000000 + (int64_t)i * 7919 % 10000 * 20000; }

/* When timer number i of many is due: 100 ... 1,100 s from now, in no order. */
static inline int64_t timer_span(int i) { return (100000 + (int64_t)((uint64_t)i * 2654435761u % 1000000)) * 1000000; }

/* Which of n channels the select rows send on. */
static inline int order(int i, int n) { return (i * 5 + i / 8) % n; }

static inline void emit(const char *key, double value) { printf("{\"%s\": %.6g}\n", key, value); }
static inline void emit2(const char *k1, double v1, const char *k2, double v2) {
    printf("{\"%s\": %.6g, \"%s\": %.6g}\n", k1, v1, k2, v2);
}
static inline void skip(const char *why) { printf("{\"skip\": \"%s\"}\n", why); }

static inline options parse_options(int argc, char **argv) {
    options o = {.time = 0.3, .n = 2};
    for (int i = 2; i < argc; i++) {
        const char *key = argv[i], *value = i + 1 < argc ? argv[i + 1] : "0";
        if (!strcmp(key, "--locked")) {
            o.locked = true;
            continue;
        }
        if (!strcmp(key, "--time")) o.time = atof(value);
        else if (!strcmp(key, "--n")) o.n = atoi(value);
        else if (!strcmp(key, "--gap")) o.gap = atof(value);
        else if (!strcmp(key, "--parked")) o.parked = atoi(value);
        else if (!strcmp(key, "--sleepers")) o.sleepers = atoi(value);
        else if (!strcmp(key, "--conns")) o.conns = atoi(value);
        else fprintf(stderr, "unknown option %s\n", key), exit(2);
        i++;
    }
    return o;
}

/* A row by name; its function prints its figures. */
typedef struct row {
    const char *name;
    void (*run)(const options *o);
} row;

static inline const row *find_row(const row *rows, int argc, char **argv) {
    for (; argc > 1 && rows->name; rows++)
        if (!strcmp(rows->name, argv[1])) return rows;
    return NULL;
}

#endif
