// An allocator's work and strings: a table of words that come and go.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct entry *next;
    char key[24];
    int value;
};
enum { LISTS = 4096 };
static struct entry *table[LISTS];

static unsigned hash(const char *text) {
    unsigned sum = 2166136261u;
    while (*text)
        sum = (sum ^ (unsigned char)*text++) * 16777619u;
    return sum;
}

int main(int argc, char **argv) {
    int operations = argc > 1 ? atoi(argv[1]) : 1;
    unsigned long long sum = 0;
    for (int i = 0; i < operations; i++) {
        unsigned random = (unsigned)i * 2654435761u, digits = random % 5000;
        char key[24] = "k";
        int length = 1;
        do {
            key[length++] = (char)('0' + digits % 10);
            digits /= 10;
        } while (digits);
        key[length] = 0;
        struct entry **place = &table[hash(key) % LISTS];
        while (*place && strcmp((*place)->key, key))
            place = &(*place)->next;
        struct entry *entry = *place;
        if (entry && (random & 7) == 0) {
            *place = entry->next;
            free(entry);
        } else if (entry) {
            entry->value += i;
        } else {
            entry = malloc(sizeof *entry + (random >> 8) % 200);
            if (!entry)
                return 1;
            strcpy(entry->key, key);
            entry->value = i;
            entry->next = 0;
            *place = entry;
        }
    }
    for (int list = 0; list < LISTS; list++)
        for (struct entry *entry = table[list]; entry; entry = entry->next)
            sum += (unsigned)entry->value;
    printf("heap %d %llu\n", operations, sum);
    return 0;
}
