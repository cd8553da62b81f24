// Floating point in memory: products of two matrices.
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 40 };
static double a[SIZE][SIZE], b[SIZE][SIZE], product[SIZE][SIZE];

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    double sum = 0;
    for (int i = 0; i < SIZE * SIZE; i++) {
        a[i / SIZE][i % SIZE] = (i % 17) * 0.5;
        b[i / SIZE][i % SIZE] = (i % 13) * 0.25;
    }
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < SIZE; i++)
            for (int k = 0; k < SIZE; k++)
                for (int j = 0; j < SIZE; j++)
                    product[i][j] += a[i][k] * b[k][j];
    for (int i = 0; i < SIZE * SIZE; i++)
        sum += product[i / SIZE][i % SIZE];
    printf("matmul %d %lld\n", rounds, (long long)sum);
    return 0;
}
