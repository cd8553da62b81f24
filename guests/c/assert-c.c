// A failed assertion: its message on standard error, then a trap.
#include <assert.h>

int main(int argc, char **argv) {
    (void)argv;
    assert(argc == -1);
    return 0;
}
