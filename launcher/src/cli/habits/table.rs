//! Flags of other programs, and what to write instead.

use super::Advice;

const PUBLISH: Advice = Advice::Say(
    "write -p HOST:GUEST for each port, such as -p 8080:80; --tcplisten ADDR:PORT gives the guest a listener",
);
const NETWORK: Advice = Advice::Say(
    "name what the guest may connect to with --net NAME:PORT, or write -S inherit-network for all that this host reaches",
);
const NAMES: Advice = Advice::Say(
    "names are looked up as this host does it; --net NAME:PORT=TARGET says what is meant by a name",
);
const NO_COMPILER: Advice = Advice::Leave(
    "--engine chooses the interpreter or native code, which is always optimised and kept for the next run",
);
const NO_FEATURES: Advice = Advice::Leave(
    "every WebAssembly feature that the engine supports is enabled; -W, --memory and --timeout limit a run",
);
const STREAMS: Advice =
    Advice::Leave("the standard streams are always connected, and the guest sees a terminal as a terminal");
const RIGHTS: Advice = Advice::Leave("the guest has no access to this host except to its directories");
const ONE_PROCESSOR: Advice = Advice::Leave("the virtual machine has one processor");
const TAKE_OVER: Advice =
    Advice::Say("write -S inherit-env for all variables of the host, or --env NAME for one");

/// Flags of other programs, with a space in between.
pub(super) const TABLE: &[(&str, Advice)] = &[
    // Docker and podman, mostly.
    ("-e -env --environment", Advice::Variable),
    (
        "--env-file",
        Advice::Say("write --env K=V for each variable in the file"),
    ),
    (
        "--env-host -env-inherit --forward-host-env --inherit-env",
        TAKE_OVER,
    ),
    ("-m --mem --max-memory", Advice::Write("--memory", "SIZE")),
    ("--platform", Advice::Write("--arch", "ARCHITECTURE")),
    ("-v --volume --mount -mount --bind", Advice::Mount),
    (
        "-w --workdir --cwd --working-dir",
        Advice::Say(
            "a WASI program starts in the directory that is called '.': write --dir HOST::. (or --copy-dir HOST::.)",
        ),
    ),
    ("-P --publish-all --expose --port --ports", PUBLISH),
    ("--network --allow-net --inherit-network", NETWORK),
    ("--dns --add-host --link", NAMES),
    (
        "--hostname --ip --mac-address",
        Advice::Leave("WASI has no name for the machine, and the guest's addresses exist only inside"),
    ),
    (
        "--listen -listen --addr",
        Advice::Write("--tcplisten", "ADDR:PORT"),
    ),
    ("--rm", Advice::Leave("a run leaves nothing behind")),
    ("-i -t -it -ti --interactive --tty --attach", STREAMS),
    (
        "-d -dit -itd --detach",
        Advice::Say(
            "a run always stays in the foreground; end the command with '&' to put it into the background",
        ),
    ),
    ("--name --label", Advice::Leave("runs have no names")),
    ("--cpus --cpu-shares -smp", ONE_PROCESSOR),
    (
        "--entrypoint",
        Advice::Say("the module is the program: write it and its arguments after all flags"),
    ),
    (
        "-u --user",
        Advice::Leave("WASI has no users; --dir uses your own permissions"),
    ),
    (
        "--privileged --cap-add --cap-drop --device --security-opt",
        RIGHTS,
    ),
    (
        "--quota --storage-opt --disk",
        Advice::Say("write --dir HOST::GUEST,quota=SIZE: each directory has a quota of its own"),
    ),
    (
        "--sandbox --no-sandbox --seccomp --isolation --no-jail",
        Advice::Say("write --jail auto, strict or off"),
    ),
    (
        "--restart --pull --init",
        Advice::Leave("the module is a file, and it runs once"),
    ),
    // wasmtime, wasmer, wazero.
    ("--mapdir", Advice::MountGuestFirst),
    (
        "--fuel --gas",
        Advice::Say("write -W fuel=N, which counts about one for each instruction"),
    ),
    ("--max-memory-size", Advice::Limit("max-memory-size", "SIZE")),
    ("--max-table-elements", Advice::Limit("max-table-elements", "N")),
    ("--max-wasm-stack", Advice::Limit("max-wasm-stack", "SIZE")),
    (
        "--trap-on-grow-failure",
        Advice::Say("write -W trap-on-grow-failure"),
    ),
    ("--wasm-features --enable-all --enable-simd", NO_FEATURES),
    (
        "--wasi --wasi-modules",
        Advice::Say(
            "WASI preview 1 is always on and nothing else is supported; --env, --dir, --copy-dir and --tmpfs set what the \
             guest gets",
        ),
    ),
    (
        "-O -C --optimize --codegen --cranelift --llvm --singlepass -interpreter",
        NO_COMPILER,
    ),
    ("--cache -cachedir --backend", NO_COMPILER),
    (
        "-D --debug --log-level --profile",
        Advice::Say("write --log debug for the log of kernel and application, -v for what the launcher does"),
    ),
    ("--command-name", Advice::Write("--argv0", "NAME")),
    // QEMU.
    ("-M", Advice::Write("--machine", "MACHINE")),
    (
        "-kernel -initrd -append -nographic -cpu -device -drive -no-reboot",
        Advice::Say(
            "the launcher chooses QEMU's flags; --print-command prints a QEMU command line to start from",
        ),
    ),
];
