export const createElement = (...a) => a, Fragment = 1;
