int main(void) { int x = "a" 5; return undeclared + ; }
#include "missing.h"
