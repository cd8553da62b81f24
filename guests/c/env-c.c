// The environment through the C library, and changes to it that stay within the program.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) {
        printf("argv[%d] = %s\n", i, argv[i]);
    }
    const char *given = getenv("GIVEN");
    printf("GIVEN = %s\n", given ? given : "(not set)");
    printf("ABSENT = %s\n", getenv("ABSENT") ? "set" : "(not set)");
    setenv("ABSENT", "now set", 1);
    printf("ABSENT = %s\n", getenv("ABSENT"));
    return 0;
}
