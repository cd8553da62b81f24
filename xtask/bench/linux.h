/* What a program does that is the first process of a small Linux, whatever it is there for. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Noreturn void die(const char *what) {
    fprintf(stderr, "init: %s: %s\n", what, strerror(errno));
    reboot(RB_AUTOBOOT);
    _exit(1);
}

/* The modules' file names, one a line, in the order in which they need each other. */
static void load_modules(void) {
    char path[256];
    FILE *order = fopen("/modules/order", "r");
    if (!order)
        die("/modules/order");
    while (fgets(path, sizeof path, order)) {
        path[strcspn(path, "\n")] = 0;
        int file = open(path, O_RDONLY);
        if (file < 0 || (syscall(SYS_finit_module, file, "", 0) && errno != EEXIST))
            die(path);
        close(file);
    }
    fclose(order);
}
