#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <stdint.h>
typedef struct node { struct node *left, *right; uint64_t key; char name[16]; } node;
static uint64_t seed = 88172645463325252ull;
static uint64_t next(void) { seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17; return seed; }
static node *insert(node *n, uint64_t key) {
    if (!n) { n = calloc(1, sizeof *n); n->key = key; snprintf(n->name, sizeof n->name, "k%llu", (unsigned long long)(key % 1000)); return n; }
    if (key < n->key) n->left = insert(n->left, key); else if (key > n->key) n->right = insert(n->right, key);
    return n;
}
static int depth(const node *n) { if (!n) return 0; int l = depth(n->left), r = depth(n->right); return 1 + (l > r ? l : r); }
static int compare(const void *a, const void *b) { double x = *(const double *)a, y = *(const double *)b; return (x > y) - (x < y); }
static void multiply(int n, const float *restrict a, const float *restrict b, float *restrict c) {
    for (int i = 0; i < n; i++) for (int j = 0; j < n; j++) { float s = 0; for (int k = 0; k < n; k++) s += a[i * n + k] * b[k * n + j]; c[i * n + j] = s; }
}
int main(int argc, char **argv) {
    node *root = NULL;
    for (int i = 0; i < 100000; i++) root = insert(root, next() >> 40);
    printf("%d deep, root %s\n", depth(root), root->name);
    static double v[50000]; for (int i = 0; i < 50000; i++) v[i] = sin((double)next());
    qsort(v, 50000, sizeof *v, compare); printf("%.17g %.17g %a\n", v[0], v[25000], v[49999]);
    static float a[128 * 128], b[128 * 128], c[128 * 128];
    for (int i = 0; i < 128 * 128; i++) a[i] = i % 17, b[i] = i % 13 - 6;
    multiply(128, a, b, c); printf("%g %g\n", c[5], c[128 * 128 - 1]);
    FILE *f = fopen("made.txt", "w"); if (!f) { perror("made.txt"); return 3; }
    for (int i = 1; i < argc; i++) fprintf(f, "%d=%s\n", i, argv[i]);
    fclose(f);
    char line[256]; long lines = 0, total = 0; while (fgets(line, sizeof line, stdin)) lines++, total += strlen(line);
    printf("%ld lines, %ld bytes\n", lines, total); return 5;
}
