// The C library on directories: opendir, readdir, seekdir, stat, lstat, mkdir, rename, link, symlink, access, utimens.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *result(int value) { return value < 0 ? strerror(errno) : "done"; }

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list(const char *path) {
    char *names[32];
    int count = 0;
    DIR *dir = opendir(path);
    if (!dir) {
        printf("opendir %s: %s\n", path, strerror(errno));
        return;
    }
    for (struct dirent *entry; count < 32 && (entry = readdir(dir));) {
        const char *kind = entry->d_type == DT_DIR ? "/" : entry->d_type == DT_LNK ? "@" : "";
        if (asprintf(&names[count], "%s%s", entry->d_name, kind) < 0)
            abort();
        count++;
    }
    closedir(dir);
    qsort(names, count, sizeof *names, by_name);
    printf("%s:", path);
    for (int index = 0; index < count; index++) {
        printf(" %s", names[index]);
        free(names[index]);
    }
    puts("");
}

static void status(const char *path) {
    struct stat st;
    if (lstat(path, &st) < 0) {
        printf("lstat %s: %s\n", path, strerror(errno));
        return;
    }
    printf("%s: %s, %lld bytes, %d names\n", path,
           S_ISDIR(st.st_mode) ? "directory" : S_ISLNK(st.st_mode) ? "link" : S_ISREG(st.st_mode) ? "file" : "other",
           S_ISDIR(st.st_mode) ? 0 : (long long)st.st_size, S_ISDIR(st.st_mode) ? 0 : (int)st.st_nlink);
}

int main(void) {
    list("/tree");
    list("/tree/sub");
    status("/tree/file.txt");
    status("/tree/sub");
    status("/tree/link");
    char target[64] = "";
    ssize_t length = readlink("/tree/link", target, sizeof target);
    printf("readlink: %zd '%s'\n", length, target);
    length = readlink("/tree/link", target, 3);
    printf("readlink of 3: %zd '%.3s'\n", length, target);
    list("/tree/link-to-directory");
    list("/tree/file.txt");
    list("/tree/nothing");

    printf("mkdir: %s\n", result(mkdir("/tree/new", 0777)));
    printf("mkdir again: %s\n", result(mkdir("/tree/new", 0777)));
    printf("rename: %s\n", result(rename("/tree/file.txt", "/tree/new/moved")));
    printf("link: %s\n", result(link("/tree/new/moved", "/tree/new/second")));
    printf("symlink: %s\n", result(symlink("moved", "/tree/new/third")));
    printf("absolute symlink: %s\n", result(symlink("/tree/new/moved", "/tree/new/fourth")));
    list("/tree/new");
    status("/tree/new/second");
    printf("rmdir: %s\n", result(rmdir("/tree/new")));
    printf("unlink a directory: %s\n", result(unlink("/tree/new")));
    printf("rmdir a file: %s\n", result(rmdir("/tree/new/moved")));

    printf("access: %s\n", result(access("/tree/new/moved", R_OK | W_OK)));
    printf("access to nothing: %s\n", result(access("/tree/nothing", F_OK)));
    struct timespec times[2] = {{1000000000, 1}, {1234567890, 987654321}};
    printf("utimensat: %s\n", result(utimensat(AT_FDCWD, "/tree/new/moved", times, 0)));
    struct stat st;
    stat("/tree/new/third", &st);
    printf("mtime: %lld.%09ld\n", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);

    int dir = open("/tree/new", O_RDONLY | O_DIRECTORY);
    int file = openat(dir, "made", O_CREAT | O_EXCL | O_RDWR, 0666);
    printf("openat: %s\n", result(file));
    printf("openat again: %s\n", result(openat(dir, "made", O_CREAT | O_EXCL | O_RDWR, 0666)));
    printf("write: %zd\n", write(file, "0123456789", 10));
    printf("pwrite: %zd\n", pwrite(file, "AB", 2, 4));
    printf("lseek: %lld\n", (long long)lseek(file, -8, SEEK_END));
    char buffer[16] = "";
    length = read(file, buffer, sizeof buffer);
    printf("read: %zd '%s'\n", length, buffer);
    printf("fstatat: %s\n", result(fstatat(dir, "made", &st, 0)));
    printf("unlinkat: %s\n", result(unlinkat(dir, "made", 0)));
    printf("unlinkat again: %s\n", result(unlinkat(dir, "made", 0)));
    printf("posix_fadvise: %d\n", posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL));
    printf("fsync: %s\n", result(fsync(file)));

    DIR *stream = fdopendir(dir);
    readdir(stream);
    long place = telldir(stream);
    char first[32];
    struct dirent *entry = readdir(stream);
    snprintf(first, sizeof first, "%s", entry->d_name);
    while (readdir(stream))
        continue;
    seekdir(stream, place);
    entry = readdir(stream);
    printf("seekdir: %s\n", entry && strcmp(entry->d_name, first) == 0 ? "the same entry" : "another entry");
    rewinddir(stream);
    int count = 0;
    while (readdir(stream))
        count++;
    printf("rewinddir: %d entries\n", count);
    closedir(stream);
    return 0;
}
