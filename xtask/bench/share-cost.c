/* The work of guests/rust/src/bin/share-cost.rs as the first process of a small Linux. The file /jobs has a job a line:
 * `cached` or `direct` (with O_DIRECT), and the three words of that program.
 *
 * It loads the modules of /modules/order, mounts the shared directory, works there, and ends the machine. What is
 * measured lies between two `out %al, $0xf1`. Linked statically: nothing else is in its file system.
 */
#define _GNU_SOURCE
#include "linux.h"

#include <stdlib.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

static void mark(void) {
    __asm__ volatile("outb %%al, $0xf1" : : "a"(0) : "memory");
}

/* A request that nothing else sends separates the jobs in the server's log. */
static void separate(int directory) {
    struct statfs status;
    if (fstatfs(directory, &status))
        die("statfs");
}

static void start(int directory) {
    separate(directory);
    mark();
}

static void end(int directory) {
    mark();
    separate(directory);
}

static void transfer(int directory, int writing, int direct, size_t size, size_t times) {
    void *buffer;
    if (posix_memalign(&buffer, 4096, size ? size : 1))
        die("memory");
    memset(buffer, 0x5a, size);
    /* What an earlier job left in the page cache is no work of this one. */
    int old = openat(directory, "data", O_RDONLY);
    if (old < 0 || posix_fadvise(old, 0, 0, POSIX_FADV_DONTNEED) || close(old))
        die("data");
    start(directory);
    int file = openat(directory, "data", direct | (writing ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY), 0666);
    if (file < 0)
        die("data");
    for (size_t i = 0; i < times; i++)
        if ((writing ? write(file, buffer, size) : read(file, buffer, size)) != (ssize_t)size)
            die("data: not all of it");
    if (close(file))
        die("data");
    end(directory);
    free(buffer);
}

/* Names of five digits, counted up in place. */
static void open_files(int directory, const char *under, size_t times) {
    char name[64];
    size_t len = strlen(under);
    memcpy(name, under, len);
    memcpy(name + len, "00000", 6);
    start(directory);
    for (size_t i = 0; i < times; i++) {
        int file = openat(directory, name, O_RDONLY);
        if (file < 0)
            die(name);
        close(file);
        for (char *digit = name + len + 4; ++*digit > '9'; digit--)
            *digit = '0';
    }
    end(directory);
}

int main(void) {
    char how[16], what[16], with[48];
    unsigned long times;
    if (mount("dev", "/dev", "devtmpfs", 0, NULL) && errno != EBUSY)
        die("/dev");
    load_modules();
    if (mount("share", "/share", "virtiofs", 0, NULL))
        die("mount");
    int directory = open("/share", O_RDONLY | O_DIRECTORY);
    if (directory < 0)
        die("/share");
    if (iopl(3)) /* for `out` */
        die("iopl");
    FILE *jobs = fopen("/jobs", "r");
    if (!jobs)
        die("/jobs");
    while (fscanf(jobs, "%15s %15s %47s %lu", how, what, with, &times) == 4)
        if (!strcmp(what, "open"))
            open_files(directory, strcmp(with, ".") ? with : "", times);
        else
            transfer(directory, !strcmp(what, "write"), strcmp(how, "direct") ? 0 : O_DIRECT,
                     strtoul(with, NULL, 10), times);
    reboot(RB_AUTOBOOT);
    return 1;
}
