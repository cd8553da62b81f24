// Copies a file: `copy-c FROM TO`. The program of docs/tutorial.md, after the one of the WASI tutorial.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what, const char *path) {
    fprintf(stderr, "cannot %s %s: %s (errno %d)\n", what, path, strerror(errno), errno);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s FROM TO\n", argv[0]);
        return 2;
    }
    int from = open(argv[1], O_RDONLY);
    if (from < 0)
        fail("open", argv[1]);
    int to = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0660);
    if (to < 0)
        fail("create", argv[2]);
    char buffer[4096];
    ssize_t count;
    while ((count = read(from, buffer, sizeof buffer)) > 0) {
        for (ssize_t done = 0; done < count;) {
            ssize_t written = write(to, buffer + done, count - done);
            if (written < 0)
                fail("write", argv[2]);
            done += written;
        }
    }
    if (count < 0)
        fail("read", argv[1]);
    if (close(to) != 0)
        fail("close", argv[2]);
    return 0;
}
