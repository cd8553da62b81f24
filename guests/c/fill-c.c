// Fills a file until there is no room left, empties it, and fills it again.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    for (int round = 0; round < 2; round++) {
        int file = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (file < 0) {
            perror(argv[1]);
            return 1;
        }
        static char bytes[1000];
        long total = 0;
        for (ssize_t count; (count = write(file, bytes, sizeof bytes)) >= 0;)
            total += count;
        printf("%ld bytes, then: %s\n", total, strerror(errno));
        close(file);
    }
    return 0;
}
