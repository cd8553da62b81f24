// Ends by returning from main: buffers are flushed and atexit handlers run, last registered first.
#include <stdio.h>
#include <stdlib.h>

static void first(void) { puts("registered first"); }
static void second(void) { puts("registered second"); }

int main(void) {
    atexit(first);
    atexit(second);
    puts("main ends");
    return 3;
}
