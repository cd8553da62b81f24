// Sorts and searches with the C library, through function pointers: indirect calls.
#include <stdio.h>
#include <stdlib.h>

static int up(const void *a, const void *b) {
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}
static int down(const void *a, const void *b) { return up(b, a); }

int main(void) {
    enum { COUNT = 5000 };
    static unsigned numbers[COUNT];
    int (*const orders[])(const void *, const void *) = {up, down};
    for (int o = 0; o < 2; o++) {
        unsigned state = 7;
        for (int i = 0; i < COUNT; i++) {
            numbers[i] = state = state * 1664525u + 1013904223u;
        }
        qsort(numbers, COUNT, sizeof numbers[0], orders[o]);
        int sorted = 1;
        for (int i = 1; i < COUNT; i++) {
            sorted &= orders[o](&numbers[i - 1], &numbers[i]) <= 0;
        }
        printf("sorted %d, first %u, last %u\n", sorted, numbers[0], numbers[COUNT - 1]);
    }
    return 0;
}
