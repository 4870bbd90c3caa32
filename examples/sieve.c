/* The prime sieve: a chain of goroutines, one for each prime, each of which lets pass what its prime
 * does not divide.
 *
 *     sieve [COUNT]    the first COUNT primes (10)
 */
#include <ramet.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct stage {
    ramet_chan *source, *out; /* the source is the out of the stage before */
    int prime;                /* of the first stage, which has no source: none */
    ramet_goroutine g;
} stage;

static void generate(void *arg) { /* send 2, 3, 4, ... until cancelled */
    stage *s = arg;
    for (int number = 2; ramet_chan_send(s->out, &number, RAMET_FOREVER) == 0;) number++;
}

static void sift(void *arg) { /* copy what the prime does not divide, until cancelled */
    stage *s = arg;
    int number;
    while (ramet_chan_recv(s->source, &number, RAMET_FOREVER) == 0)
        if (number % s->prime && ramet_chan_send(s->out, &number, RAMET_FOREVER) != 0) return;
}

static int add_stage(stage *s, stage *before) {
    s->out = ramet_chan_make(sizeof(int), 0);
    if (!s->out) return -ENOMEM;
    if (!before) return ramet_go(generate, s, &s->g);
    s->source = before->out;
    int error = ramet_chan_recv(s->source, &s->prime, RAMET_FOREVER);
    if (error) return error;
    printf("%d\n", s->prime);
    return ramet_go(sift, s, &s->g);
}

static int start(void *arg) {
    size_t count = *(size_t *)arg, n;
    stage *stages = calloc(count + 1, sizeof *stages);
    if (!stages) return -ENOMEM;
    int error = 0;
    for (n = 0; n <= count && !error; n++) error = add_stage(&stages[n], n ? &stages[n - 1] : NULL);

    for (size_t i = 0; i < n; i++) { /* all of them before any channel goes */
        ramet_cancel(stages[i].g);
        ramet_join(stages[i].g, RAMET_FOREVER);
    }
    for (size_t i = 0; i < n; i++) ramet_chan_free(stages[i].out);
    free(stages);
    return error;
}

int main(int argc, char **argv) {
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 10;
    int error = ramet_run(start, &count, NULL);
    if (error) fprintf(stderr, "sieve: %s\n", strerror(-error));
    return error ? 1 : 0;
}
