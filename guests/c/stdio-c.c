// The C library's files where there is no file system, and its standard streams once they are closed.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    // Whatever the terminal question's answer: the C library asks it to choose its buffering.
    static char buffer[4096];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    FILE *file = fopen("/etc/passwd", "r");
    // Which errno is the C library's choice: it finds no directory above the path.
    fprintf(stderr, "fopen: %s\n", file ? "opened" : strerror(errno));
    fprintf(stderr, "lseek: %s\n", lseek(1, 0, SEEK_CUR) < 0 ? strerror(errno) : "sought");
    puts("written to standard output");
    fflush(stdout);
    close(1);
    puts("cannot be written");
    fprintf(stderr, "fflush after close: %s\n", fflush(stdout) != 0 ? strerror(errno) : "worked");
    return 0;
}
