/* Gaps: how punctual anything can be on this machine. gaps [SECONDS]
 *
 * Does nothing but read the clock, and counts how long it was kept from it: by the hypervisor, by the
 * kernel, by other processes. Nobody's tick is more punctual than that. Run it on an idle core:
 * gcc -O2 -o target/gaps benches/floor/gaps.c && taskset -c 0 target/gaps 10
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MS 1000000ll

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 * MS + now.tv_nsec;
}

int main(int argc, char **argv) {
    long long seconds = argc > 1 ? atoi(argv[1]) : 10, last = now_ns(), end = last + seconds * 1000 * MS;
    long long count = 0, lost = 0, longest = 0;
    while (last < end) {
        long long now = now_ns(), gap = now - last;
        if (gap > MS) count++, lost += gap;
        if (gap > longest) longest = gap;
        last = now;
    }
    printf("%lld gaps of more than 1 ms, %.2f %% of the time; the longest %.1f ms\n", count,
           100.0 * lost / (seconds * 1000 * MS), (double)longest / MS);
}
