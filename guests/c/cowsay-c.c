// A cow says what the arguments are, in a bubble. COW_EYES are its eyes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    const char *eyes = getenv("COW_EYES");
    size_t width = argc > 1 ? argc - 2 : 0;
    for (int i = 1; i < argc; i++)
        width += strlen(argv[i]);
    putchar(' ');
    for (size_t i = 0; i < width + 2; i++)
        putchar('_');
    printf("\n< ");
    for (int i = 1; i < argc; i++)
        printf(i > 1 ? " %s" : "%s", argv[i]);
    printf(" >\n ");
    for (size_t i = 0; i < width + 2; i++)
        putchar('-');
    printf("\n        \\   ^__^\n         \\  (%.2s)\\_______\n", eyes ? eyes : "--");
    printf("            (__)\\       )\\/\\\n                ||----w |\n                ||     ||\n");
    return 0;
}
