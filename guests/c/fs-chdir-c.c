// The working directory, which the C library keeps by itself: getcwd, chdir, and paths that start from there.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void where(void) {
    char *path = getcwd(NULL, 0);
    printf("    in %s\n", path ? path : strerror(errno));
    free(path);
}

static void change(const char *path) {
    printf("chdir %s: %s\n", path, chdir(path) < 0 ? "refused" : "done");
    where();
}

static void try(const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        printf("    %s: %s\n", path, strerror(errno));
    else
        printf("    %s: %s\n", path, S_ISDIR(st.st_mode) ? "directory" : "file");
}

int main(void) {
    where();
    try("sub");
    try("file.txt");
    try("/file.txt");
    change("sub");
    try("inner.txt");
    try("../file.txt");
    try("file.txt");
    change("deeper");
    try("last");
    change("/sub");
    try("inner.txt");
    change("nothing");
    change("inner.txt");
    printf("mkdir: %d\n", mkdir("made-here", 0777));
    try("/sub/made-here");
    FILE *file = fopen("relative", "w");
    fputs("x", file);
    fclose(file);
    try("/sub/relative");
    printf("rename: %d\n", rename("relative", "/moved"));
    try("/moved");
    change("/");
    try("sub/made-here");
    try("moved");
    char small[2];
    printf("getcwd into 1 byte: %s\n", getcwd(small, 1) ? "fits" : strerror(errno));
    return 0;
}
