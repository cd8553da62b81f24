// The C library's streams on files: all modes of fopen, seeking, pushing back, line by line, formatted, temporary.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void content(const char *path) {
    char buffer[256];
    FILE *file = fopen(path, "r");
    if (!file) {
        printf("    %s: %s\n", path, strerror(errno));
        return;
    }
    size_t length = fread(buffer, 1, sizeof buffer - 1, file);
    buffer[length] = 0;
    printf("    %s: '%s'\n", path, buffer);
    fclose(file);
}

static void mode(const char *path, const char *how) {
    FILE *file = fopen(path, how);
    if (!file) {
        printf("fopen %s: %s\n", how, strerror(errno));
        return;
    }
    int written = fputs("++", file);
    int wrote = written >= 0 && fflush(file) == 0;
    rewind(file);
    printf("fopen %s: writes %s, reads %s\n", how, wrote ? "yes" : "no", fgetc(file) != EOF ? "yes" : "no");
    fclose(file);
    content(path);
}

int main(void) {
    FILE *file = fopen("/dir/lines", "w");
    for (int number = 1; number <= 2000; number++)
        fprintf(file, "%d %x %s\n", number, number, number % 2 ? "odd" : "even");
    printf("ftell: %ld\n", ftell(file));
    fclose(file);

    file = fopen("/dir/lines", "r+");
    char line[64], word[8];
    int lines = 0, sum = 0, number, hex;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%d %x %7s", &number, &hex, word) == 3 && number == hex)
            lines++, sum += number;
    printf("%d lines, sum %d, end %d\n", lines, sum, feof(file));
    fseek(file, 0, SEEK_SET);
    ungetc('#', file);
    int first = fgetc(file);
    printf("ungetc: %c%c\n", first, fgetc(file));
    fseek(file, -5, SEEK_END);
    printf("from the end: %s", fgets(line, sizeof line, file));
    fseek(file, 2, SEEK_SET);
    fputs("<>", file);
    fseek(file, 0, SEEK_SET);
    printf("overwritten: %s", fgets(line, sizeof line, file));
    fclose(file);

    file = fopen("/dir/short", "w");
    fputs("short", file);
    fclose(file);
    const char *modes[] = {"r", "r+", "a", "a+", "w", "w+", "wx", "q"};
    for (size_t index = 0; index < sizeof modes / sizeof *modes; index++)
        mode("/dir/short", modes[index]);

    printf("no such file: %s\n", fopen("/dir/nothing", "r") ? "opened" : strerror(errno));
    printf("a directory: %s\n", fopen("/dir", "w") ? "opened" : strerror(errno));
    file = fopen("/dir/short", "w");
    FILE *again = freopen("/dir/other", "w", file);
    fputs("reopened", again);
    fclose(again);
    content("/dir/other");
    printf("ftruncate: %d\n", truncate("/dir/other", 2));
    content("/dir/other");
    printf("remove: %d\n", remove("/dir/lines"));
    printf("rename: %d\n", rename("/dir/other", "/dir/renamed"));
    content("/dir/renamed");
    content("/dir/other");
    return 0;
}
