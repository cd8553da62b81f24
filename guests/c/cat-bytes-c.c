// Copies standard input to standard output one byte a call, without the C library's buffers.
#include <stdio.h>
#include <unistd.h>

int main(void) {
    char byte;
    ssize_t count;
    while ((count = read(STDIN_FILENO, &byte, 1)) == 1) {
        if (write(STDOUT_FILENO, &byte, 1) != 1) {
            perror("write");
            return 1;
        }
    }
    if (count < 0) {
        perror("read");
        return 1;
    }
    return 0;
}
