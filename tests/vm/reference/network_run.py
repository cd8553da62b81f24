#!/usr/bin/env python3
"""Runs a server under the Python package `wasmtime` 19.0.0 with the command line of `hermit-wasm run`.

Later versions have no listeners for preview 1. Usage:
network_run.py run [--tcplisten ADDRESS:PORT]... [--copy-dir HOST::GUEST]... [--env K=V]... MODULE [ARGS...]

Listeners are the descriptors behind the directories, as ours; this runtime lets one choose. Functions that it does not
have answer ENOTSUP, so that programs which use them only for connections to elsewhere can serve.
"""

import ctypes
import os
import pathlib
import sys

os.environ["WASMTIME_WASI_CONFIG_PREOPEN_SOCKET_ALLOW"] = "1"

import wasmtime  # noqa: E402, what it reads of the environment is above
import wasmtime._ffi  # noqa: E402

#: preview 1's errno for what is not supported.
ENOTSUP = 58


def main(words):
    if not words or words.pop(0) != "run":
        sys.exit("the only command is run")
    listeners, directories, environment = [], [], []
    flags = {"--tcplisten": listeners, "--copy-dir": directories, "--env": environment}
    while words and words[0].startswith("--"):
        flag = words.pop(0)
        if flag not in flags:
            sys.exit(f"{flag}: not a flag that this runner knows")
        flags[flag].append(words.pop(0))
    module, *arguments = words

    config = wasmtime.WasiConfig()
    config.argv = [pathlib.Path(module).name, *arguments]
    config.env = [pair.split("=", 1) for pair in environment]
    config.inherit_stdin()
    config.inherit_stdout()
    config.inherit_stderr()
    for directory in directories:
        host, separator, guest = directory.partition("::")
        config.preopen_dir(host, guest if separator else host)
    # The package has no name for it.
    preopen = wasmtime._ffi.dll.wasi_config_preopen_socket
    preopen.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_char_p]
    preopen.restype = ctypes.c_bool
    for descriptor, listener in enumerate(listeners, 3 + len(directories)):
        if not preopen(ctypes.cast(config.ptr(), ctypes.c_void_p), descriptor, listener.encode()):
            sys.exit(f"cannot listen at {listener}")

    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    store.set_wasi(config)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    code = wasmtime.Module.from_file(engine, module)
    known = {"sock_accept", "sock_recv", "sock_send", "sock_shutdown"}
    for needed in code.imports:
        if needed.name.startswith("sock_") and needed.name not in known:
            linker.define_func(needed.module, needed.name, needed.type, lambda *_: ENOTSUP)
    try:
        linker.instantiate(store, code).exports(store)["_start"](store)
    except wasmtime.ExitTrap as end:
        sys.exit(end.code)


main(sys.argv[1:])
