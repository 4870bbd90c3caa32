/* Goroutines: two of them say their word five times, each at its own pace. Main waits for the other.
 *
 *     cc say.c -lramet && ./a.out
 */
#include <ramet.h>
#include <stdio.h>

static void say(void *word) {
    for (int i = 0; i < 5; i++) {
        ramet_sleep(100 * RAMET_MILLISECOND);
        puts(word);
    }
}

static int start(void *arg) {
    (void)arg;
    ramet_goroutine world;
    int error = ramet_go(say, "world", &world);
    if (error) return error;
    say("hello");
    return ramet_join(world, RAMET_FOREVER);
}

int main(void) { return ramet_run(start, NULL, NULL) == 0 ? 0 : 1; }
