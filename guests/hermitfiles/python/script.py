import hashlib
import json
import math
import os
import sys

print(json.dumps({"pi": round(math.pi, 5), "argv": sys.argv}))
print(hashlib.sha256(b"abc").hexdigest())
# All of that comes from the image, where nothing can be changed.
for module in (hashlib, json):
    print(module.__file__)
try:
    open(os.path.dirname(json.__file__) + "/new", "w")
except OSError as error:
    print(error.strerror)
