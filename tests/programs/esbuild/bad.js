let a = 1;
let b = (a +;
const c;
let a = 2;
