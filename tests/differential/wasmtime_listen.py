#!/usr/bin/env python3
"""Runs a module under the Python package `wasmtime` 19 with a listener as descriptor 3.

Usage: wasmtime_listen.py ADDRESS:PORT MODULE [ARGS...]

The package's own API does not reach what its library has: a listener for the guest. That wants the word below in the
environment, and the listener does not wait.
"""

import ctypes
import os
import sys

os.environ["WASMTIME_WASI_CONFIG_PREOPEN_SOCKET_ALLOW"] = "1"

import wasmtime
from wasmtime import _bindings

LISTENER = 3

address, path, *arguments = sys.argv[1:]
engine = wasmtime.Engine()
store = wasmtime.Store(engine)
linker = wasmtime.Linker(engine)
linker.define_wasi()
wasi = wasmtime.WasiConfig()
wasi.argv = [os.path.basename(path), *arguments]
wasi.inherit_stdout()
wasi.inherit_stderr()
if not _bindings.wasi_config_preopen_socket(wasi.ptr(), LISTENER, ctypes.c_char_p(address.encode())):
    sys.exit(f"reference: cannot listen at {address}")
store.set_wasi(wasi)
module = wasmtime.Module.from_file(engine, path)
try:
    linker.instantiate(store, module).exports(store)["_start"](store)
except wasmtime.ExitTrap as trap:
    sys.exit(trap.code)
