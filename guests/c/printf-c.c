// Formats numbers in many ways, floating-point ones with many digits: 128-bit arithmetic in software is behind it.
#include <float.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    printf("%d %u %x %o %c %s %%\n", INT_MIN, UINT_MAX, 0xdeadbeef, 0755, 'c', "text");
    printf("%" PRId64 " %" PRIu64 " %" PRIx64 "\n", INT64_MIN, UINT64_MAX, UINT64_MAX);
    printf("[%8d] [%-8d] [%08d] [%+d] [%.3s] [%*d]\n", 42, 42, 42, 42, "abcdef", 6, 7);
    volatile double tenth = 0.1, two = 2.0, huge = DBL_MAX, tiny = 5e-324;
    printf("%.60f\n%.17g %g %e %a\n", tenth, tenth, tenth, tenth, tenth);
    printf("%.17g %.17g %.17g\n", sqrt(two), exp(two), pow(two, 0.3));
    printf("%g %g %f\n", huge, tiny, huge);
    // No NaN: WebAssembly leaves its sign open, and printf shows it.
    printf("%g %g\n", huge * two, -huge * two);
    printf("%.17g %ld %.17g\n", strtod("1e-5", NULL), strtol("-0x7f", NULL, 0), atof("123456789.123456789"));
    return 0;
}
