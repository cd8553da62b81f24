// Integers: SHA-256's compression of so many blocks.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ROTATE(x, n) (((x) >> (n)) | ((x) << (32 - (n))))
static uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
static uint32_t constants[64];

static void compress(const uint8_t *block) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (ROTATE(w[i - 15], 7) ^ ROTATE(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (ROTATE(w[i - 2], 17) ^ ROTATE(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (int i = 0; i < 8; i++)
        s[i] = state[i];
    for (int i = 0; i < 64; i++) {
        uint32_t one = s[7] + (ROTATE(s[4], 6) ^ ROTATE(s[4], 11) ^ ROTATE(s[4], 25)) +
                       ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + w[i];
        uint32_t two = (ROTATE(s[0], 2) ^ ROTATE(s[0], 13) ^ ROTATE(s[0], 22)) +
                       ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        for (int place = 7; place > 0; place--)
            s[place] = s[place - 1];
        s[4] += one;
        s[0] = one + two;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

int main(int argc, char **argv) {
    int blocks = argc > 1 ? atoi(argv[1]) : 1;
    uint8_t block[64];
    // Not the standard's, which would be a page of numbers: what is computed is a sum to compare, not a digest.
    for (int i = 0; i < 64; i++)
        constants[i] = 0x9e3779b9u * (uint32_t)(i + 1);
    for (int i = 0; i < blocks; i++) {
        for (int place = 0; place < 64; place++)
            block[place] = (uint8_t)(i * 31 + place * 7);
        compress(block);
    }
    printf("sha256 %d ", blocks);
    for (int i = 0; i < 8; i++)
        printf("%08x", (unsigned)state[i]);
    puts("");
    return 0;
}
