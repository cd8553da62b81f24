// Prints the files that its arguments name, one after the other.
#include <stdio.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "r");
        if (!file) {
            perror(argv[i]);
            return 1;
        }
        for (int c; (c = getc(file)) != EOF;)
            putchar(c);
        fclose(file);
    }
    return 0;
}
