import _ from "/lodash/lodash.js";
import { z } from "./lib";
enum Colour { Red = 1, Green, Blue = Red << 4 }
const enum Small { A, B }
interface Shape { area(): number }
abstract class Base<T> implements Shape { constructor(protected readonly v: T, private n?: number) {} abstract area(): number; static #c = 0; static next() { return ++Base.#c } }
class Sq extends Base<number> { area() { return this.v ** 2 } get twice() { return this.area() * 2 } }
async function* walk(x?: { y?: { z: number[] } }) { for (const v of x?.y?.z ?? []) yield v }
(async () => { for await (const v of walk({ y: { z: [1, 2, 3] } })) console.log(v, new Sq(v).twice, Colour[Colour.Blue], Small.B, Base.next()) })();
console.log(_.chunk([1, 2, 3, 4], 3), z`a${1}b`, import.meta.url, import("./lib").then(m => m.unused));
