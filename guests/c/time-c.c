// Time through the C library: the calendar, both clocks, and a sleep between two looks.
#include <stdio.h>
#include <time.h>

static double now(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t) != 0) {
        perror("clock_gettime");
    }
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(void) {
    time_t t = time(NULL);
    struct tm *utc = gmtime(&t);
    printf("a year from 2026 to 2099: %s\n", utc->tm_year >= 126 && utc->tm_year < 200 ? "yes" : "no");
    double before = now(CLOCK_MONOTONIC);
    struct timespec pause = {0, 30 * 1000 * 1000};
    nanosleep(&pause, NULL);
    double slept = now(CLOCK_MONOTONIC) - before;
    printf("slept 30 ms: %s\n", slept >= 0.03 && slept < 2 ? "yes" : "no");
    return 0;
}
