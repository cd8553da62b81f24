#!/usr/bin/env python3
"""Runs a module under the Python package `wasmtime` with the command line of `hermit-wasm run`.

The boot tests' expectations must be what another, trusted WASI runtime does too, not just what ours happens to do.
Usage: wasmtime_run.py run [--env K=V]... [--timeout DUR] [--memory SIZE] MODULE [ARGS...]

Exit codes as hermit-wasm's: the guest's own, 134 for a trap, 126 for a module that cannot be run, 127 for one that
is not there, 124 for a time-out.
"""

import os
import sys
import threading

import wasmtime


def parse(words):
    """The command line: a dictionary of flags, and the rest (module and arguments)."""
    flags = {"env": [], "timeout": None}
    words = list(words)
    if words.pop(0) != "run":
        sys.exit("the only command is run")
    while words and words[0].startswith("--"):
        flag = words.pop(0)
        if flag == "--":
            break
        if flag == "--env":
            name, _, value = words.pop(0).partition("=")
            flags["env"].append((name, value))
        elif flag == "--timeout":
            value = words.pop(0)
            unit = value.lstrip("0123456789.")
            flags["timeout"] = float(value[: len(value) - len(unit)]) * {"ms": 0.001, "s": 1, "": 1, "m": 60}[unit]
        elif flag in ("--memory", "--accel", "--machine"):
            words.pop(0)
        else:
            sys.exit(f"{flag}: not a flag that this runner knows")
    return flags, words


def end(code, message=None):
    """Ends the process at once, whatever threads still run. The tests find the message by its first word."""
    if message:
        print(f"oracle: {message}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(code)


def main():
    flags, words = parse(sys.argv[1:])
    path, arguments = words[0], words[1:]
    try:
        with open(path, "rb") as file:
            module_bytes = file.read()
    except OSError as error:
        end(127, f"{path}: {error}")
    if flags["timeout"] is not None:
        timer = threading.Timer(flags["timeout"], lambda: end(124, f"{path}: time is up"))
        timer.daemon = True
        timer.start()

    config = wasmtime.Config()
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    wasi = wasmtime.WasiConfig()
    wasi.argv = [os.path.basename(path), *arguments]
    wasi.env = flags["env"]
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    store.set_wasi(wasi)
    try:
        if path.endswith(".wat"):
            module_bytes = wasmtime.wat2wasm(module_bytes)
        module = wasmtime.Module(engine, module_bytes)
        linker.allow_shadowing = True
        instance = linker.instantiate(store, module)
        start = instance.exports(store)["_start"]
        if not isinstance(start, wasmtime.Func) or start.type(store).params:
            end(126, f"{path}: its _start is not a function without parameters")
    except wasmtime.ExitTrap as trap:
        end(trap.code)
    except wasmtime.Trap as trap:
        end(134, f"{path}: trap: {trap}")
    except (wasmtime.WasmtimeError, KeyError) as error:
        end(126, f"{path}: {error}")
    try:
        start(store)
    except wasmtime.ExitTrap as trap:
        end(trap.code if trap.code < 256 else 1)
    except wasmtime.Trap as trap:
        end(134, f"{path}: trap: {trap}")
    except wasmtime.WasmtimeError as error:
        end(134, f"{path}: {error}")
    end(0)


main()
