// The C library's heap: growing, reusing, and a request that cannot be met, after which the program goes on.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    char *block = NULL;
    for (size_t size = 1; size <= 4u << 20; size *= 2) {
        block = realloc(block, size);
        if (!block) {
            perror("realloc");
            return 1;
        }
        memset(block + size / 2, (int)(size % 251), size - size / 2);
    }
    printf("last byte %d\n", block[(4u << 20) - 1]);
    free(block);

    void *volatile impossible = malloc(SIZE_MAX - 65536);
    printf("4 GiB: %s, %s\n", impossible ? "granted" : "refused", errno == ENOMEM ? "ENOMEM" : "another errno");

    void *blocks[1000];
    for (int i = 0; i < 1000; i++) {
        blocks[i] = calloc(1, (size_t)i + 1);
        if (!blocks[i] || ((char *)blocks[i])[i] != 0) {
            return 1;
        }
    }
    for (int i = 0; i < 1000; i++) {
        free(blocks[i]);
    }
    puts("1000 small blocks: fine");
    return 0;
}
