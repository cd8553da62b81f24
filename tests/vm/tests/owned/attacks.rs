//! What hostile machines try, and how each run must end.

/// One run of the hostile kernel.
pub(crate) struct Attack {
    /// What it is ordered, a name of `tests/hostile/src/main.rs`.
    pub(crate) name: &'static str,
    /// `--memory`, in MiB.
    pub(crate) memory: u64,
    /// Further flags.
    pub(crate) flags: &'static [&'static str],
    /// Whether a directory is shared.
    pub(crate) shares: bool,
    /// How much follows the order in the module, in bytes.
    pub(crate) padding: usize,
    /// Whether somebody reads standard output.
    pub(crate) reads_output: bool,
    /// The exit codes that it may end with.
    pub(crate) ends: &'static [i32],
    /// What output or messages must say: that the attack took place, or why the run ended.
    pub(crate) says: &'static [&'static str],
}

/// The attack has come to its end, and ended the run as a guest does.
const DONE: &[i32] = &[42];
/// The machine failed.
const FAILED: &[i32] = &[125];
/// The time limit ended it.
const TIMEOUT: &[i32] = &[124];
/// It may be stopped by its limit of memory.
const DONE_OR_FAILED: &[i32] = &[42, 125];

/// The time limit of each run, which only those meet that do not end.
const LIMIT: &str = "--timeout=120s";
/// The same for those.
const SHORT: &[&str] = &["--timeout=5s"];

const fn attack(name: &'static str, ends: &'static [i32], says: &'static [&'static str]) -> Attack {
    Attack {
        name,
        memory: 64,
        flags: &[LIMIT],
        shares: false,
        padding: 0,
        reads_output: true,
        ends,
        says,
    }
}

const fn everything(memory: u64, shares: bool) -> Attack {
    Attack {
        memory,
        shares,
        ..attack(
            "memory-everything",
            DONE_OR_FAILED,
            &["all memory is filled", "millions of addresses"],
        )
    }
}

const fn mappings(flags: &'static [&'static str]) -> Attack {
    Attack {
        flags,
        ..attack(
            "memory-mappings",
            FAILED,
            &["QEMU met its limit of this host's memory"],
        )
    }
}

const fn endless(name: &'static str) -> Attack {
    Attack {
        flags: SHORT,
        ..attack(name, TIMEOUT, &["did not end within 5s"])
    }
}

const fn share(name: &'static str, says: &'static [&'static str]) -> Attack {
    Attack {
        shares: true,
        ..attack(name, DONE, says)
    }
}

/// What breaks the protocol of the console.
const fn protocol(name: &'static str, says: &'static [&'static str]) -> Attack {
    attack(name, FAILED, says)
}

/// All of them.
pub(crate) static ATTACKS: &[Attack] = &[
    // The host's memory.
    attack("memory-fill", DONE, &["all memory is filled"]),
    attack("memory-code", DONE_OR_FAILED, &[]),
    attack("memory-translations", DONE, &["millions of addresses"]),
    attack("memory-devices", DONE_OR_FAILED, &["every port and register"]),
    everything(64, false),
    everything(64, true),
    everything(256, false),
    everything(256, true),
    // What QEMU reads the payload from is given back when the machine says HELLO.
    Attack {
        padding: 40 << 20,
        ..everything(256, false)
    },
    everything(1024, false),
    everything(1024, true),
    mappings(&[LIMIT, "--machine=pc"]),
    mappings(&[LIMIT, "--machine=q35"]),
    share("directory-crowd", &["a crowd of", "then Some(-23)"]),
    // The line to the launcher.
    attack("console-wrong-frames", DONE, &[]),
    attack("console-noise", DONE_OR_FAILED, &[]),
    attack("console-exit-twice", DONE, &[]),
    attack("console-diagnostics", DONE, &["all is well"]),
    attack("console-text-and-panic", FAILED, &["panicked"]),
    Attack {
        flags: &[LIMIT, "-v"],
        ..attack("console-text-and-panic", FAILED, &["panicked"])
    },
    protocol("console-strange-version", &["speaks version 255"]),
    protocol("console-window-outside", &["outside of its memory"]),
    protocol("console-window-that-wraps", &["outside of its memory"]),
    protocol("console-window-on-devices", &["outside of its memory"]),
    protocol("console-window-too-large", &["too large"]),
    protocol("console-window-that-moves", &["names its shared buffer twice"]),
    protocol("console-span-outside", &["outside of its shared buffer"]),
    protocol("console-span-that-wraps", &["outside of its shared buffer"]),
    protocol(
        "console-recording-unasked",
        &["a recording that nobody has asked for"],
    ),
    protocol("console-span-without-window", &["before it has named one"]),
    protocol("console-unread-too-much", &["more input than it got"]),
    protocol("console-share-of-nothing", &["does not exist"]),
    protocol("console-reads-without-end", &["without waiting for answers"]),
    endless("console-questions-without-end"),
    endless("console-output-without-end"),
    Attack {
        reads_output: false,
        ..endless("console-output-without-end")
    },
    endless("console-silence"),
    // The shared directory.
    share("directory-rights", &["connected", "mkdir-65534", "setattr-mode"]),
    share(
        "directory-escape",
        &["connected", "a/../../secret", "symlink", "create"],
    ),
    share("directory-nonsense", &["connected"]),
    share("directory-rings", &["no rule of the queue was kept"]),
];

impl Attack {
    /// Its name, and what tells it from others of the same name.
    pub(crate) fn title(&self) -> String {
        let mut title = format!("{}-{}M", self.name, self.memory);
        for (holds, word) in [
            (self.shares, "-shared"),
            (self.padding > 0, "-large"),
            (!self.reads_output, "-unread"),
        ] {
            title.push_str(if holds { word } else { "" });
        }
        for flag in self.flags.iter().filter(|flag| !flag.starts_with("--timeout")) {
            title.push('-');
            title.push_str(flag.trim_start_matches("--machine=").trim_start_matches('-'));
        }
        title
    }

    /// What the launcher takes for a module: its first bytes are one's, and the rest is the order.
    pub(crate) fn module(&self) -> Vec<u8> {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend(format!("attack={}\n", self.name).into_bytes());
        module.resize(module.len() + self.padding, 0);
        module
    }

    /// The launcher's flags.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "run".to_owned(),
            "--accel=tcg".to_owned(),
            "--arch=x86_64".to_owned(),
        ];
        arguments.push(format!("--memory={}M", self.memory));
        arguments.extend(self.flags.iter().map(|&flag| flag.to_owned()));
        arguments
    }
}
