/* What the programs beside this file have in common: numbers by chance, and the time. */
#include <stdint.h>
#include <time.h>

/* Anything but 0, before the first draw. */
static uint64_t state;

static uint64_t draw(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1dULL;
}

/* Seconds on a clock that nobody sets. */
static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}
