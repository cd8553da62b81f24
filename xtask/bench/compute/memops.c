// Copies and fills, large and small.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 1 << 16 };
static unsigned char from[SIZE], to[SIZE];

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    unsigned sum = 0;
    for (int round = 0; round < rounds; round++) {
        memset(from, round & 255, SIZE);
        memcpy(to, from, SIZE);
        memmove(to + 1, to, SIZE - 1);
        sum += to[(round * 7919u) % SIZE];
        for (int i = 0; i < 200; i++)
            memcpy(from + i * 64, to + i * 97, 48);
        sum += from[round % 4096];
    }
    printf("memops %d %u\n", rounds, sum);
    return 0;
}
