#!/usr/bin/env python3
"""Runs a module under the Python package `wasmtime` with the command line of `hermit-wasm run`.

The boot tests' expectations must be what another, trusted WASI runtime does too, not just what ours happens to do.
Usage: wasmtime_run.py run [--env K=V]... [--timeout DUR] [--memory SIZE] [--argv0 NAME] [--cache]
                           [--tmpfs GUEST | --[copy-]dir HOST[::GUEST][:ro]]...
                           [--invoke FUNCTION] [--preload NAME=MODULE]... MODULE [ARGS...]

--cache keeps what has been compiled for the next run, in wasmtime's own cache directory.

Each directory for the guest but those of --dir is one of the host, made for the run and removed after it. Directories in turn lie below
TMPDIR and in /dev/shm: on file systems of their own, as they are in our machine.

Exit codes as hermit-wasm's: the guest's own, 134 for a trap, 126 for a module that cannot be run, 127 for one that
is not there, 124 for a time-out.
"""

import decimal
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading

import wasmtime


def parse(words):
    """The command line: a dictionary of flags, and the rest (module and arguments)."""
    flags = {"env": [], "timeout": None, "directories": [], "argv0": None, "cache": False, "invoke": None, "preload": []}
    words = list(words)
    if words.pop(0) != "run":
        sys.exit("the only command is run")
    while words and words[0].startswith("--"):
        flag = words.pop(0)
        if flag == "--":
            break
        if "=" in flag:
            flag, _, value = flag.partition("=")
            words.insert(0, value)
        if flag == "--env":
            name, _, value = words.pop(0).partition("=")
            flags["env"].append((name, value))
        elif flag == "--invoke":
            flags["invoke"] = words.pop(0)
        elif flag == "--preload":
            name, _, path = words.pop(0).partition("=")
            flags["preload"].append((name, path))
        elif flag == "--timeout":
            value = words.pop(0)
            unit = value.lstrip("0123456789.")
            flags["timeout"] = float(value[: len(value) - len(unit)]) * {"ms": 0.001, "s": 1, "": 1, "m": 60}[unit]
        elif flag in ("--tmpfs", "--copy-dir", "--dir"):
            flags["directories"].append(directory(flag, words.pop(0)))
        elif flag == "--argv0":
            flags["argv0"] = words.pop(0)
        elif flag == "--cache":
            flags["cache"] = True
        elif flag in ("--memory", "--accel", "--machine"):
            words.pop(0)
        else:
            sys.exit(f"{flag}: not a flag that this runner knows")
    return flags, words


def directory(flag, value):
    """What a flag asks for: its name, the host's directory or None, the guest's name for it, whether it may be changed."""
    if flag == "--tmpfs":
        return flag, None, value, True
    mutable = not value.endswith(":ro")
    host, separator, guest = value.removesuffix(":ro").partition("::")
    return flag, host, guest if separator else host, mutable


#: The directories that were made for this run.
MADE = []


def make(host, number):
    """Makes a directory for the guest, empty or a copy; gives its path."""
    places = [tempfile.gettempdir(), "/dev/shm"]
    if os.stat(places[0]).st_dev == os.stat(places[1]).st_dev:
        end(125, f"{places[0]} and {places[1]} are one file system; TMPDIR must name another")
    path = tempfile.mkdtemp(dir=places[number % len(places)])
    MADE.append(path)
    if host is not None:
        # Keeps symbolic links, hard links, and times in nanoseconds.
        subprocess.run(["cp", "-a", f"{host}/.", path], check=True)
    return path


def end(code, message=None):
    """Ends the process at once, whatever threads still run. The tests find the message by its first word."""
    for path in MADE:
        shutil.rmtree(path, ignore_errors=True)
    if message:
        print(f"reference: {message}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(code)


#: What preview 0 and preview 1 have with the same types and layouts. The package has no preview 0 of its own; a module
#: that imports one of the others cannot be run.
SAME_IN_PREVIEW0 = (
    "args_get args_sizes_get environ_get environ_sizes_get clock_res_get clock_time_get fd_advise fd_allocate fd_close "
    "fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights fd_filestat_set_size fd_filestat_set_times "
    "fd_pread fd_prestat_get fd_prestat_dir_name fd_pwrite fd_read fd_readdir fd_renumber fd_sync fd_tell fd_write "
    "path_create_directory path_filestat_set_times path_link path_open path_readlink path_remove_directory path_rename "
    "path_symlink path_unlink_file proc_exit proc_raise sched_yield random_get sock_recv sock_send sock_shutdown"
).split()


def define_preview0(store, linker):
    """Gives what is the same in preview 0 its old name too."""
    for name in SAME_IN_PREVIEW0:
        linker.define(store, "wasi_unstable", name, linker.get(store, "wasi_snapshot_preview1", name))


def load(engine, path):
    """A module in binary or text form."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        end(127, f"{path}: {error}")
    return wasmtime.Module(engine, wasmtime.wat2wasm(content) if path.endswith(".wat") else content)


def begin(store, linker, module):
    """An instance, initialized."""
    instance = linker.instantiate(store, module)
    exports = instance.exports(store)
    if "_initialize" in exports:
        exports["_initialize"](store)
    return exports


def number(text, kind):
    """An argument of wasmtime's command line."""
    if kind in ("f32", "f64"):
        return float(text)
    return int(text[2:], 16) if text[:2] in ("0x", "0X") else int(text)


def shown(value, kind):
    """A result as wasmtime's command line prints it, which is Rust's way."""
    if kind in ("i32", "i64"):
        return str(value)
    if kind not in ("f32", "f64"):
        name = "funcref" if "func" in kind else "externref"
        return f"<null {name}>" if value is None else f"<{name}>"
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return str(value)
    text = repr(value)
    if kind == "f32":
        single = struct.pack("<f", value)
        digits = (f"{value:.{precision}e}" for precision in range(10))
        text = next(text for text in digits if struct.pack("<f", float(text)) == single)
    text = format(decimal.Decimal(text), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


WARNING = "warning: using `--invoke` with a function that {} is experimental and may break in the future"


def invoke(store, function, name, arguments):
    """Calls a function as wasmtime's command line does."""
    kinds = [str(kind) for kind in function.type(store).params]
    results = [str(kind) for kind in function.type(store).results]
    if kinds:
        print(WARNING.format("takes arguments"), file=sys.stderr, flush=True)
    if len(arguments) < len(kinds):
        end(2, f"not enough arguments for `{name}`")
    try:
        values = [number(text, kind) for text, kind in zip(arguments, kinds)]
    except ValueError as error:
        end(2, f"{name}: {error}")
    answer = function(store, *values)
    if results:
        print(WARNING.format("returns values"), file=sys.stderr, flush=True)
        answers = answer if len(results) > 1 else [answer]
        print("".join(f"{shown(value, kind)}\n" for value, kind in zip(answers, results)), end="", flush=True)


def main():
    flags, words = parse(sys.argv[1:])
    path, arguments = words[0], words[1:]
    if not os.access(path, os.R_OK):
        end(127, f"{path}: it cannot be read")
    if flags["timeout"] is not None:
        timer = threading.Timer(flags["timeout"], lambda: end(124, f"{path}: time is up"))
        timer.daemon = True
        timer.start()

    config = wasmtime.Config()
    if flags["cache"]:
        config.cache = True
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    wasi = wasmtime.WasiConfig()
    wasi.argv = [flags["argv0"] or os.path.basename(path), *arguments]
    wasi.env = flags["env"]
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    for number, (flag, host, guest, mutable) in enumerate(flags["directories"]):
        path_here = host if flag == "--dir" else make(host, number)
        wasi.preopen_dir(path_here, guest, mutable)
    store.set_wasi(wasi)
    define_preview0(store, linker)
    try:
        module = load(engine, path)
        linker.allow_shadowing = True
        for name, library in flags["preload"]:
            for export, item in begin(store, linker, load(engine, library)).items():
                linker.define(store, name, export, item)
        exports = begin(store, linker, module)
        start = exports[flags["invoke"] or "_start"]
        if not isinstance(start, wasmtime.Func) or flags["invoke"] is None and start.type(store).params:
            end(126, f"{path}: its {flags['invoke'] or '_start'} is not a function without parameters")
    except wasmtime.ExitTrap as trap:
        end(trap.code)
    except wasmtime.Trap as trap:
        end(134, f"{path}: trap: {trap}")
    except (wasmtime.WasmtimeError, KeyError) as error:
        end(126, f"{path}: {error}")
    try:
        invoke(store, start, flags["invoke"], arguments if flags["invoke"] else [])
    except wasmtime.ExitTrap as trap:
        end(trap.code if trap.code < 256 else 1)
    except wasmtime.Trap as trap:
        end(134, f"{path}: trap: {trap}")
    except wasmtime.WasmtimeError as error:
        end(134, f"{path}: {error}")
    end(0)


main()
