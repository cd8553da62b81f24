// Calls: the usual double recursion, so many times.
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static unsigned fib(unsigned n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    unsigned sum = 0;
    for (int round = 0; round < rounds; round++)
        sum += fib(22 + (round & 1));
    printf("fib %d %u\n", rounds, sum);
    return 0;
}
