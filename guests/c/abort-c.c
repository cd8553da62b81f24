// Aborts: a trap. What the C library still held in its buffer is lost, as the C standard allows.
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    fprintf(stderr, "about to abort\n");
    printf("lost, because it is buffered");
    abort();
}
