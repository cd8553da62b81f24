// Floating point in registers, with square roots: bodies that attract each other, so many steps.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BODIES = 5 };
static struct { double x, y, z, vx, vy, vz, mass; } body[BODIES] = {
    {0, 0, 0, 0, 0, 0, 39.4784},
    {4.8414, -1.1603, -0.1036, 0.6063, 2.8119, -0.0252, 0.0376},
    {8.3433, 4.1247, -0.4035, -1.0107, 1.8256, 0.0084, 0.0112},
    {12.8943, -15.1111, -0.2233, 1.0827, 0.8687, -0.0108, 0.0017},
    {15.3796, -25.9193, 0.1792, 0.9790, 0.5946, -0.0347, 0.0020},
};

static void step(double time) {
    for (int i = 0; i < BODIES; i++)
        for (int j = i + 1; j < BODIES; j++) {
            double dx = body[i].x - body[j].x, dy = body[i].y - body[j].y, dz = body[i].z - body[j].z;
            double square = dx * dx + dy * dy + dz * dz, pull = time / (square * sqrt(square));
            body[i].vx -= dx * body[j].mass * pull;
            body[i].vy -= dy * body[j].mass * pull;
            body[i].vz -= dz * body[j].mass * pull;
            body[j].vx += dx * body[i].mass * pull;
            body[j].vy += dy * body[i].mass * pull;
            body[j].vz += dz * body[i].mass * pull;
        }
    for (int i = 0; i < BODIES; i++) {
        body[i].x += time * body[i].vx;
        body[i].y += time * body[i].vy;
        body[i].z += time * body[i].vz;
    }
}

int main(int argc, char **argv) {
    int steps = argc > 1 ? atoi(argv[1]) : 1;
    double sum = 0;
    for (int i = 0; i < steps; i++)
        step(0.001);
    for (int i = 0; i < BODIES; i++)
        sum += body[i].x + body[i].vy;
    printf("nbody %d %lld\n", steps, (long long)(sum * 1e6));
    return 0;
}
