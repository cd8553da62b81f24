import sys, json, hashlib, os, math, re, zlib, struct, random, collections, datetime, decimal, fractions
print(6*7, sys.version, sys.platform, sys.argv)
data = {"b": [1, 2.5, None, True, "é\u2028\U0001f600"], "a": {"x": 1e300, "y": -0.0}}
text = json.dumps(data, sort_keys=True, indent=1); print(text, json.loads(text) == data)
for name in ("md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b"):
    print(name, hashlib.new(name, b"abc" * 10000).hexdigest())
blob = bytes(random.Random(7).randrange(256) for _ in range(30000))
print(zlib.crc32(blob), zlib.decompress(zlib.compress(blob)) == blob, hashlib.sha256(zlib.compress(blob, 9)).hexdigest())
print(math.sin(1e6), math.gamma(5.5), 0.1 + 0.2, 1e22, float("1e-320"), 2 ** 0.5, math.fsum([0.1] * 10), round(2.675, 2), math.erf(.3))
print(pow(3, 10001, 10**50 + 7), len(str(3**9000)), decimal.Decimal(2).sqrt(), fractions.Fraction(355, 113))
print(re.sub(r"(\w+) (\w+)", r"\2 \1", "hello wide world"), struct.pack("<dIh", 1.5, 7, -3))
print(collections.Counter("abracadabra").most_common(3), datetime.date(2024, 2, 29) + datetime.timedelta(365))
os.makedirs("out/deep", exist_ok=True)
for i in range(60):
    with open(f"out/deep/{i:03}.txt", "w") as f: f.write("line %d\n" % i * (i * 50))
os.rename("out/deep/001.txt", "out/moved.txt"); os.remove("out/deep/002.txt")
with open("out/moved.txt", "r+b") as f: f.seek(30); f.write(b"XYZ"); f.truncate(200)
os.symlink("moved.txt", "out/link") if hasattr(os, "symlink") else None
print(sorted(os.listdir("out")), os.path.getsize("out/moved.txt"), os.stat("out/deep/059.txt").st_size, open("out/link").read(9))
print(sorted((r, len(d), len(f)) for r, d, f in os.walk("out")))
for path in ("missing", "/etc/passwd", "../x", "out"):
    try: open(path)
    except OSError as e: print(type(e).__name__, e)
try: os.rmdir("out")
except OSError as e: print(e)
def deep(n): return 1 + deep(n + 1)
try: deep(0)
except RecursionError as e: print("RecursionError", e)
def gen():
    for i in range(200000): yield i * i % 7
print(sum(gen()), sorted(random.Random(1).sample(range(10**6), 5)))
import ast, dis, io
tree = ast.parse(open(__file__).read()); print(sum(1 for _ in ast.walk(tree)))
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
print(fib(21))
lines = sys.stdin.read().splitlines(); print(len(lines), lines[:2], lines[-1:])
print("to standard error", file=sys.stderr)
if len(sys.argv) > 1 and sys.argv[1] == "raise":
    def inner(x): return {"a": 1}[x]
    try: inner("b")
    except KeyError as e: raise ValueError("as it was meant to be") from e
sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
