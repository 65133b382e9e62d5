/* Moves the wall clock of one program, and no other clock: preloaded, it adds the seconds that a file holds.
 *
 * The file is named by $WALLCLOCK: eight octets, a signed number in the machine's order. Whoever writes it moves the
 * clock at that instant, as an administrator or a time server would.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *moved;
static int (*kernel)(clockid_t, struct timespec *);

__attribute__((constructor)) static void open_file(void) {
    kernel = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int file = open(getenv("WALLCLOCK"), O_RDONLY | O_CLOEXEC);
    void *place = mmap(NULL, sizeof *moved, PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || place == MAP_FAILED) abort();
    moved = place;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    if (!kernel) open_file();
    int code = kernel(clock, at);
    if (code == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += *moved;
    return code;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    at->tv_sec = exact.tv_sec;
    at->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (at) *at = exact.tv_sec;
    return exact.tv_sec;
}
