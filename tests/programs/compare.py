#!/usr/bin/env python3
"""Runs the programs of programs.toml under wasmtime and as native code in the virtual machine, and compares them.

`cargo xtask programs` calls it: compare.py LAUNCHER REFERENCE DIRECTORY [WORD...]. LAUNCHER is hermit-wasm, REFERENCE
the script that runs a module under the Python package `wasmtime` with this Python, DIRECTORY takes packages and
results, and only runs with one of the WORDs in their names are made. Exit code, standard output, standard error and
every file must be the same, byte for byte; the exit code must be the expected one and the expected files must be there.

compare.py --fetch DIRECTORY PACKAGE... only fetches packages of programs.toml.
"""

import hashlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
FETCH = sys.argv[1] == "--fetch"
PLACE = pathlib.Path(sys.argv[2 if FETCH else 3]).resolve()
LAUNCHER, REFERENCE = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
ONLY = sys.argv[3 if FETCH else 4:]
MEMORY = "1G"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(package):
    """The directory into which a package is unpacked; raises where it cannot be had."""
    place = PLACE / "packages" / f"{package['name']}-{package['version']}"
    if (place / "complete").exists():
        return place
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    wanted = (package["package"], package["version"])
    if package.get("registry") == "npm":
        command = ["npm", "pack", "--silent", "--ignore-scripts", "--fetch-retries=1", "{}@{}".format(*wanted)]
    else:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--timeout=30", "--retries=1", "{}=={}".format(*wanted)]
    subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)
    (archive,) = place.iterdir()
    if "archive_sha256" in package and sha256(archive) != package["archive_sha256"]:
        sys.exit(f"{archive.name}: SHA-256 {sha256(archive)} instead of {package['archive_sha256']}")
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for member in wheel.infolist():
                path = wheel.extract(member, place)
                # zipfile forgets that a file can be executed.
                if member.external_attr >> 16 & 0o111 and not member.is_dir():
                    os.chmod(path, 0o755)
    else:
        unpack(archive, place)
    if "tar" in package:
        unpack(place / package["tar"], place / "tar")
    module = package.get("module") or package.get("member")
    if "sha256" in package and sha256(place / module) != package["sha256"]:
        sys.exit(f"{module}: SHA-256 {sha256(place / module)} instead of {package['sha256']}")
    (place / "complete").touch()
    return place


def unpack(archive, place):
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="data")


def build_go(place):
    """Compiles the program in Go; gives the module."""
    if platform.machine() != "x86_64":
        raise OSError("the pinned Go is one for x86-64")
    module = PLACE / "go.wasm"
    environment = {"GOOS": "wasip1", "GOARCH": "wasm", "GOTOOLCHAIN": "local", "GOTELEMETRY": "off"}
    environment |= {"GOCACHE": str(PLACE / "go-cache"), "GOPATH": str(PLACE / "go-path"), "GOFLAGS": "-trimpath"}
    command = [place / "go/bin/go", "build", "-o", module, "main.go"]
    subprocess.run(command, cwd=HERE / "go", env=os.environ | environment, check=True)
    return module


def tree(directory):
    """What lies below a directory: each path, with what it is."""
    found = {}
    for path in sorted(directory.rglob("*")):
        kind = f"-> {os.readlink(path)}" if path.is_symlink() else "directory" if path.is_dir() else sha256(path)
        found[str(path.relative_to(directory))] = kind
    return found


def execute(run, who, packages, modules):
    """Runs it on one side: the exit code, what it wrote, and the files then."""
    name = f"{run['name']}.{who}"
    directory = PLACE / "runs" / name
    shutil.rmtree(directory, ignore_errors=True)
    source = PLACE / "runs" / f"{run['after']}.{who}" if "after" in run else HERE / run["program"]
    shutil.copytree(source, directory, symlinks=True)
    empty = PLACE / "empty" / name
    shutil.rmtree(empty, ignore_errors=True)
    empty.mkdir(parents=True)
    status = PLACE / "runs" / f"{run['name']}.json"
    if who == "vm":
        command = [LAUNCHER, "run", "--engine", "native", "--memory", MEMORY, "--status-file", status]
    else:
        command = [sys.executable, REFERENCE, "run", "--cache"]
    for value in run.get("env", []):
        command += ["--env", value]
    command += ["--dir", ".::/"]
    for value in run.get("directories", []):
        command += ["--dir", value.format(empty=empty, **packages)]
    if "argv0" in run:
        command += ["--argv0", run["argv0"]]
    command += [directory / run["module"] if "module" in run else modules[run["program"]], *run.get("args", [])]
    lines = "".join(f"line number {number}\n" for number in range(run.get("stdin", 0)))
    done = subprocess.run(command, cwd=directory, input=lines.encode(), capture_output=True)
    engine = json.loads(status.read_text())["engine"] if who == "vm" else None
    return {"exit code": done.returncode, "standard output": done.stdout, "standard error": done.stderr,
            "files": tree(directory)}, engine


def differences(run, packages, modules):
    """What is wrong with a run, in words."""
    theirs, _ = execute(run, "wasmtime", packages, modules)
    ours, engine = execute(run, "vm", packages, modules)
    found = [f"{what}: {theirs[what]!r:.2000} under wasmtime, {ours[what]!r:.2000} here"
             for what in theirs if theirs[what] != ours[what]]
    if engine != "native":
        found.append(f"the engine was {engine}")
    if ours["exit code"] != run.get("exit", 0):
        found.append(f"exit code {ours['exit code']}: {ours['standard error']!r:.500}")
    return found + [f"no {path} was written" for path in run.get("writes", []) if path not in ours["files"]]


def main():
    known = tomllib.loads((HERE / "programs.toml").read_text())
    if FETCH:
        for name in ONLY:
            (package,) = (package for package in known["package"] if package["name"] == name)
            fetch(package)
        return
    others = tomllib.loads((HERE.parents[1] / "guests/tests/8-real-programs.toml").read_text())["download"]
    wanted = known["package"] + [other for other in others if other["name"] in ("python", "esbuild")]
    packages, modules, failed, skipped = {}, {}, 0, 0
    for package in wanted:
        try:
            place = packages[package["name"]] = fetch(package)
            module = package.get("module") or package.get("member")
            if package["name"] == "go":
                modules["go"] = build_go(place)
            elif module:
                # The name is the guest's first argument.
                modules[package["name"]] = place / f"{package['name']}.wasm"
                shutil.copyfile(place / module, modules[package["name"]])
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"SKIP {package['name']}: it cannot be had: {error}", flush=True)
    runs = [run for run in known["run"] if not ONLY or any(word in run["name"] for word in ONLY)]
    if not runs:
        sys.exit("no run has one of these words in its name")
    for run in runs:
        needed = {run.get("program", "clang")}
        needed |= {part.split("}")[0][1:] for part in run.get("directories", [])} - {"empty"}
        if not needed <= packages.keys() or run.get("program", "clang") not in modules:
            print(f"SKIP {run['name']}", flush=True)
            skipped += 1
            continue
        found = differences(run, packages, modules)
        failed += bool(found)
        print("\n    ".join([f"{'FAILED' if found else 'ok'} {run['name']}", *found]), flush=True)
    print(f"{failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


main()
