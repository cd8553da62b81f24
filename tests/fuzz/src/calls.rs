//! The 46 functions, called as wasmi calls them, with any arguments on any memory: none panics, none writes beyond
//! what it is declared to write, and one that fails leaves memory, machine and files as they were.

use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use kernel_app::engine::wasmi as engine;
use wasi_core::{
    Errno, WasiCtxBuilder,
    fs::{
        Access, FileSystem, Permission,
        mem::{Limits, MemFs},
    },
    testing::{Stdin, TestSystem},
};
use wasi_p1::linker::{
    Stop,
    wasmi::{Host, resolve, stop},
};
use wasmi::{Engine, Func, FuncType, Memory, MemoryType, Store, Val, ValType};

use crate::{
    declared::{self, FUNCTIONS, Param, Strings},
    watched::{Watched, dump},
};

type TestStore = Store<Host<TestSystem>>;

/// Bytes of the guest's memory: a page of Wasm.
const SIZE: u64 = 65536;

/// Bytes that are compared at once.
const LINE: usize = 256;

/// Where paths lie that mean something, 32 bytes each.
const PATHS_AT: usize = 0x4000;

const PATHS: [&str; 24] = [
    "a", "b", "d", "d/x", "d/y", "l", "ld", "ld/x", "..", ".", "d/..", "d/../a", "a/", "d/", "n", "n2",
    "d/n", "up", "loop", "/a", "", "é", "ld/", "d/l",
];

/// Where lists of buffers lie.
const LISTS_AT: u16 = 0x5000;

/// Runs the calls that `data` is a script of.
pub fn run(data: &[u8]) {
    // An error is the script's end.
    let _ = Guest::new(data.len().is_multiple_of(2)).run(&mut Unstructured::new(data));
}

struct Guest {
    store: TestStore,
    memory: Memory,
    /// By number of the function; the second half are those of `wasi_unstable`.
    functions: Vec<Option<Func>>,
    files: Watched,
    /// What the files were after the last call.
    dumped: Vec<u8>,
    strings: [Strings; 2],
}

/// A file, a directory with another in it, links that lead to either, nowhere, and out.
fn files() -> MemFs {
    let limits = Limits {
        bytes: 300_000,
        entries: 24,
    };
    let mut fs = MemFs::new(limits, 1);
    let root = fs.root();
    let now = &mut || 1;
    let made = [
        fs.create(root, b"a", now).map(|_| ()),
        fs.create_dir(root, b"d", now),
        fs.create_link(root, b"l", b"a", now),
        fs.create_link(root, b"ld", b"d", now),
        fs.create_link(root, b"up", b"../a", now),
        fs.create_link(root, b"loop", b"loop", now),
    ];
    assert_eq!(made, [Ok(()); 6]);
    let [a, d] = [&b"a"[..], b"d"].map(|name| fs.lookup(root, name).expect("it was made").node);
    let file = fs
        .open(
            a,
            Access {
                read: true,
                write: true,
            },
        )
        .expect("a file can be opened");
    assert_eq!(fs.write(file, 0, &[7; 100], now), Ok(100));
    fs.close(file);
    let made = [
        fs.create(d, b"x", now).map(|_| ()),
        fs.create_link(d, b"l", b"../a", now),
        fs.create_dir(d, b"y", now),
    ];
    assert_eq!(made, [Ok(()); 3]);
    fs
}

impl Guest {
    fn new(writable: bool) -> Self {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        let mut fs = files();
        let root = fs.root();
        let files = Watched::new(fs, root);
        let permission = if writable {
            Permission::ReadWrite
        } else {
            Permission::ReadOnly
        };
        let system = TestSystem {
            stdin: [
                Stdin::Bytes(vec![1, 2, 3]),
                Stdin::Pause(1000),
                Stdin::Bytes(vec![4; 40]),
                Stdin::Fail(Errno::IO),
                Stdin::Bytes(vec![5; 5]),
            ]
            .into(),
            write_room: 5000,
            sleep_short: 1,
            ..TestSystem::default()
        };
        let context = WasiCtxBuilder::new()
            .args(["program", "", "an argument"])
            .and_then(|builder| builder.env("NAME", "value"))
            .and_then(|builder| builder.preopen(files.clone(), "/", Permission::ReadWrite))
            .and_then(|builder| builder.preopen(files.clone(), "again", permission))
            .expect("nothing is wrong with these")
            .max_descriptors(12)
            .build(system);
        let mut store = Store::new(
            ENGINE.get_or_init(|| Engine::new(&engine::config())),
            Host::new(context),
        );
        let memory = Memory::new(&mut store, MemoryType::new(1, Some(1))).expect("there is room");
        store.data_mut().attach_memory(memory);
        let bytes = memory.data_mut(&mut store);
        for (index, path) in PATHS.iter().enumerate() {
            let at = PATHS_AT + 32 * index;
            bytes[at..at + path.len()].copy_from_slice(path.as_bytes());
        }
        // Buffers near each other, so that they and the list meet.
        for index in 0..32_u16 {
            let at = usize::from(LISTS_AT) + 8 * usize::from(index);
            let buf = LISTS_AT
                .wrapping_add(index.wrapping_mul(0x35) % 0x300)
                .wrapping_sub(0x100);
            bytes[at..at + 2].copy_from_slice(&buf.to_le_bytes());
            bytes[at + 4] = u8::try_from(index * 7 % 60).expect("below 60");
        }
        let mut guest = Self {
            store,
            memory,
            functions: vec![None; 2 * FUNCTIONS.len()],
            files,
            dumped: Vec::new(),
            strings: [Strings { count: 3, len: 21 }, Strings { count: 1, len: 11 }],
        };
        guest.dumped = guest.dump();
        guest
    }

    fn run(&mut self, script: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..40 {
            if script.is_empty() {
                break;
            }
            let step: u8 = script.arbitrary()?;
            if step >= 192 {
                self.poke(script, step)?;
            } else {
                // 46 functions; of 192 numbers each has four, twice as many for preview1 as for snapshot 0.
                let index = usize::from(step) % FUNCTIONS.len();
                let old = usize::from(step) / FUNCTIONS.len() == 3;
                self.step(script, index, old)?;
            }
        }
        Ok(())
    }

    /// The guest writes to its own memory.
    fn poke(&mut self, script: &mut Unstructured<'_>, step: u8) -> Result<()> {
        let mut at = usize::from(script.arbitrary::<u16>()?);
        let bytes: Vec<u8> = match step % 4 {
            // An element of a list: what it says is mostly in memory.
            0 => {
                at = usize::from(LISTS_AT) + 8 * (at % 32);
                let buf: u16 = script.arbitrary()?;
                let len: u16 = script.arbitrary()?;
                let mut element = [0; 8];
                element[..2].copy_from_slice(&buf.to_le_bytes());
                element[4..6].copy_from_slice(&(len >> (len % 16)).to_le_bytes());
                element.to_vec()
            }
            // A subscription.
            1 => {
                at = at % 0x400 * 8;
                let [kind, fd, clock, flags]: [u8; 4] = script.arbitrary()?;
                let mut subscription = vec![0; 48];
                subscription[0] = kind;
                subscription[8] = kind % 4;
                subscription[16] = if kind % 4 == 0 { clock % 5 } else { fd % 10 };
                subscription[25] = clock;
                subscription[40] = flags % 3;
                subscription
            }
            _ => script.arbitrary::<[u8; 8]>()?.to_vec(),
        };
        let memory = self.memory.data_mut(&mut self.store);
        if let Some(room) = memory.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(&bytes);
        }
        Ok(())
    }

    fn step(&mut self, script: &mut Unstructured<'_>, index: usize, old: bool) -> Result<()> {
        let (name, params) = FUNCTIONS[index];
        if old && name == "sock_accept" {
            return Ok(());
        }
        let mut args = Vec::new();
        for param in params {
            argument(script, *param, &mut args)?;
        }
        let func = self.function(index, old);
        let values: Vec<_> = params
            .iter()
            .flat_map(|param| core::iter::repeat_n(param.is_long(), param.count()))
            .zip(&args)
            .map(|(long, arg)| {
                if long {
                    Val::I64(arg.cast_signed())
                } else {
                    Val::I32(u32::try_from(*arg).expect("made so").cast_signed())
                }
            })
            .collect();
        self.call(name, old, func, &args, &values);
        Ok(())
    }

    /// The function, as an import would be linked.
    fn function(&mut self, index: usize, old: bool) -> Func {
        let slot = index + usize::from(old) * FUNCTIONS.len();
        if let Some(func) = self.functions[slot] {
            return func;
        }
        let (name, params) = FUNCTIONS[index];
        let types = params.iter().flat_map(|param| {
            let ty = if param.is_long() {
                ValType::I64
            } else {
                ValType::I32
            };
            core::iter::repeat_n(ty, param.count())
        });
        let types: Vec<_> = types.collect();
        let results = if name == "proc_exit" {
            &[][..]
        } else {
            &[ValType::I32]
        };
        let ty = FuncType::new(types, results.iter().copied());
        let module = if old {
            "wasi_unstable"
        } else {
            "wasi_snapshot_preview1"
        };
        let func = resolve(&mut self.store, module, name, &ty)
            .expect("its type is right")
            .expect("it exists");
        self.functions[slot] = Some(func);
        func
    }

    fn dump(&self) -> Vec<u8> {
        let mut fs = self.files.fs();
        let root = fs.root();
        let Limits { bytes, entries } = fs.used();
        let mut all = [bytes.to_le_bytes(), entries.to_le_bytes()].concat();
        dump(&mut fs, root, None, &mut all);
        all
    }

    fn call(&mut self, name: &str, old: bool, func: Func, args: &[u64], values: &[Val]) {
        let before = self.memory.data(&self.store).to_vec();
        let system = self.store.data().context.core.system.clone();

        let mut results = [Val::I32(0)];
        let results = if name == "proc_exit" {
            &mut [][..]
        } else {
            &mut results
        };
        let end = func.call(&mut self.store, values, results);

        let after = self.memory.data(&self.store);
        let files = self.dump();
        let failed = match end {
            Ok(()) => match results {
                [Val::I32(0)] => None,
                [Val::I32(errno)] => {
                    let known = Errno::ALL
                        .iter()
                        .any(|(known, _)| i32::from(known.raw()) == *errno);
                    assert!(known, "{name}: there is no errno {errno}");
                    Some(format!("errno {errno}"))
                }
                _ => panic!("{name} returned {results:?}"),
            },
            Err(error) => match stop(&error) {
                Some(stop @ (Stop::Trap(_) | Stop::Limit(_))) => Some(stop.to_string()),
                Some(Stop::Exit(_)) => {
                    assert!(
                        ["proc_exit", "proc_raise"].contains(&name),
                        "{name} ended the guest"
                    );
                    None
                }
                Some(Stop::Replay(_)) => panic!("{name}: nothing is replayed"),
                None => panic!("{name}: {error}"),
            },
        };
        if let Some(how) = &failed {
            assert!(before == after, "{name}{args:?}: {how}, but memory has changed");
            assert!(
                files == self.dumped,
                "{name}{args:?}: {how}, but files have changed"
            );
            let now = &self.store.data().context.core.system;
            assert_eq!(
                (&system.stdout, &system.stderr, &system.sleeps, system.random),
                (&now.stdout, &now.stderr, &now.sleeps, now.random),
                "{name}{args:?}: {how}, but something has happened"
            );
        } else if before != after {
            let ranges = declared::writes(name, old, args, &before, self.strings);
            // Whole lines first: instrumented, a loop over all bytes is what would take the time.
            for (line, (before, after)) in (0..).zip(before.chunks(LINE).zip(after.chunks(LINE))) {
                if before == after {
                    continue;
                }
                for (at, (before, after)) in (line * LINE as u64..).zip(before.iter().zip(after)) {
                    assert!(
                        before == after || ranges.iter().any(|range| range.contains(&at)),
                        "{name}{args:?} changed the byte at {at:#x}; it may write to {ranges:x?}"
                    );
                }
            }
        }
        self.dumped = files;
        // What piles up would make later calls slow.
        let system = &mut self.store.data_mut().context.core.system;
        system.stdout.clear();
        system.stderr.clear();
        system.sleeps.clear();
        system.polls.clear();
        system.writes.clear();
    }
}

/// Makes a parameter of a few bytes of the script: mostly one that means something, at times any.
fn argument(script: &mut Unstructured<'_>, param: Param, args: &mut Vec<u64>) -> Result<()> {
    let choice: u8 = script.arbitrary()?;
    let small = u64::from(choice);
    let any32 = |script: &mut Unstructured<'_>| script.arbitrary::<u32>().map(u64::from);
    let value = match param {
        Param::Fd if choice < 240 => small % 12,
        Param::Ptr => match choice {
            // Aligned to 8, in the first pages or among the lists.
            0..140 => small * 8,
            140..180 => u64::from(LISTS_AT) + (small - 140) * 4,
            180..220 => u64::from(script.arbitrary::<u16>()?),
            220..240 => SIZE - (small - 220),
            _ => any32(script)?,
        },
        Param::Len => match choice {
            0..200 => small,
            200..240 => u64::from(script.arbitrary::<u16>()?),
            _ => any32(script)?,
        },
        Param::Path if choice < 240 => {
            let index = usize::from(choice) % PATHS.len();
            args.push((PATHS_AT + 32 * index) as u64);
            PATHS[index].len() as u64
        }
        Param::Path => {
            args.push(any32(script)?);
            u64::from(script.arbitrary::<u8>()?)
        }
        Param::List => match choice {
            0..200 => {
                args.push(u64::from(LISTS_AT) + 8 * (small % 32));
                small / 32
            }
            200..240 => {
                args.push(any32(script)? & 0xffff);
                small - 200
            }
            _ => {
                args.push(any32(script)?);
                any32(script)?
            }
        },
        Param::Long => match choice {
            // Cookies and positions that there are.
            0..80 => small % 8,
            80..160 => small,
            160..180 => (small - 160) * 16384,
            180..200 => u64::MAX - (small - 180),
            200..210 => (1 << 63) - (small - 200),
            210..220 => (1 << 44) - 512 * (small - 210),
            _ => script.arbitrary()?,
        },
        Param::Rights => match choice {
            0..180 => (1 << 30) - 1,
            180..220 => 1 << (small - 180),
            220..230 => 0,
            _ => script.arbitrary()?,
        },
        Param::Flags if choice < 240 => small % 16,
        Param::Fd | Param::Flags => any32(script)?,
    };
    args.push(value);
    Ok(())
}
