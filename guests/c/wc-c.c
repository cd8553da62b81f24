// Counts lines, words and bytes of standard input through the C library's buffers.
#include <ctype.h>
#include <stdio.h>

int main(void) {
    long lines = 0, words = 0, bytes = 0;
    int c, inside = 0;
    while ((c = getchar()) != EOF) {
        bytes++;
        lines += c == '\n';
        words += !isspace(c) && !inside;
        inside = !isspace(c);
    }
    printf("%ld %ld %ld\n", lines, words, bytes);
    return ferror(stdin) ? 1 : 0;
}
