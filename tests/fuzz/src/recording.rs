//! Recordings: any bytes are one or are refused; what calls answer is what a replay answers; and a replay of events that
//! were cut short or changed ends, without a panic, and as far as they are the same it is.

use std::sync::OnceLock;

use hermit_wasm_vm::fuzzing::{read_recording, recording_of};
use kernel_app::engine::wasmi as engine;
use wasi_core::{
    WasiCtxBuilder,
    fs::{
        Permission,
        mem::{self, MemFs},
    },
    limits::Limits,
    testing::TestSystem,
};
use wasi_p1::linker::{
    Stop,
    trace::ReplayStop,
    wasmi::{Host, resolve, stop},
};
use wasmi::{Engine, FuncType, Memory, MemoryType, Store, Val, ValType};

use crate::{file::with_file, heap};

/// Bytes of heap that a byte of a file may cost, as a description of a run in the header.
const HEAP_PER_BYTE: usize = 512;
/// What the smallest file takes: a block as it may be, and a buffer.
const HEAP: usize = 2 << 20;

/// The most calls of a guest.
const MOST_CALLS: usize = 32;
/// The guest's memory: a page of Wasm, which may grow to so many.
const PAGES: u32 = 4;
/// What its output may have.
const OUTPUT: u64 = 200;

/// The first byte says what the others are: a file, blocks of a file, events, or what is done with recorded events.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, file)) => {
            read(file);
        }
        Some((1, script)) => blocks(script),
        Some((2, script)) => events(script),
        Some((_, script)) => changed(script),
        None => {}
    }
}

/// Reads a file; its events, if it is a recording.
fn read(file: &[u8]) -> Option<Vec<u8>> {
    let (events, heap) = with_file(file, |path| heap::most(|| read_recording(&path)));
    assert!(
        heap <= HEAP + HEAP_PER_BYTE * file.len(),
        "{} bytes took {heap} of heap",
        file.len()
    );
    match events {
        Ok(events) => Some(events),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// Blocks whose checks are right, each with its kind and the length of its content before it. What they have as events
/// is what is read, also from a file that lost its end.
fn blocks(mut script: &[u8]) {
    let mut blocks = Vec::new();
    while let Some(([kind, low, high], rest)) = script.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (content, rest) = rest.split_at(length);
        blocks.push((*kind, content));
        script = rest;
    }
    let all = recording_of(&blocks);
    let Some(found) = read(&all) else { return };
    let events: Vec<&[u8]> = blocks
        .iter()
        .filter(|(kind, _)| *kind == 2)
        .map(|(_, content)| *content)
        .collect();
    assert_eq!(found, events.concat());
    // Without the last byte, its last block is not there.
    if blocks.len() > 1 {
        let cut = read(&all[..all.len() - 1]).expect("its header is there");
        assert!(found.starts_with(&cut));
    }
}

/// Replays events as they come, for a guest whose calls are before them: their number, and each.
fn events(script: &[u8]) {
    let Some((count, rest)) = script.split_first() else {
        return;
    };
    let count = usize::from(*count).min(MOST_CALLS).min(rest.len());
    let (calls, events) = rest.split_at(count);
    play(Host::new(quiet()).replayed(events.to_vec()), calls, false);
}

/// Records what a guest's calls answer, and replays it: whole, cut short, and with a byte that is another.
fn changed(script: &[u8]) {
    let Some(([world, place_low, place_high, change, cut_low, cut_high], calls)) = script.split_first_chunk()
    else {
        return;
    };
    let recorded = play(recorded_host(*world), calls, world & 2 != 0);
    let events = recorded.system.recording.clone();
    let replay = |events: Vec<u8>| play(Host::new(quiet()).replayed(events), calls, false);

    let replayed = replay(events.clone());
    assert_eq!(recorded, replayed);
    assert_eq!(recorded.system.stdout, replayed.system.stdout);
    assert_eq!(recorded.system.stderr, replayed.system.stderr);

    // The same as far as it reaches, and then it is over.
    let cut = usize::from(u16::from_le_bytes([*cut_low, *cut_high])) % (events.len() + 1);
    let short = replay(events[..cut].to_vec());
    assert!(recorded.system.stdout.starts_with(&short.system.stdout));
    assert!(recorded.system.stderr.starts_with(&short.system.stderr));
    // That growth was refused is told behind it, by what may be cut off.
    if world & 2 == 0 {
        assert!(recorded.answers.starts_with(&short.answers));
        match &short.end {
            Some(Stop::Replay(ReplayStop::Over { .. })) => {
                assert!(short.answers.len() <= recorded.answers.len());
            }
            other => assert_eq!(*other, recorded.end),
        }
    }

    let mut other = events;
    let place = usize::from(u16::from_le_bytes([*place_low, *place_high]));
    if let Some(byte) = other.get_mut(place) {
        *byte ^= change;
    }
    replay(other);
}

/// What a guest has seen and done.
#[derive(Debug)]
struct Seen {
    answers: Vec<Answer>,
    /// What stopped it; none if it came to its end.
    end: Option<Stop>,
    exceeded: Option<wasi_core::limits::Limit>,
    memory: Vec<u8>,
    system: TestSystem,
}

/// What came back of a call, or of a growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Errno(i32),
    Grown(bool),
}

impl PartialEq for Seen {
    /// But for the machine, of which a replayed guest has none.
    fn eq(&self, other: &Self) -> bool {
        self.answers == other.answers
            && self.end == other.end
            && self.exceeded == other.exceeded
            && self.memory == other.memory
    }
}

/// A world of a guest that asks for nothing outside of its recording.
fn quiet() -> wasi_core::WasiCtx<TestSystem> {
    builder().build(TestSystem {
        random: None,
        ..TestSystem::default()
    })
}

fn builder() -> WasiCtxBuilder {
    WasiCtxBuilder::new().limits(Limits {
        output_bytes: Some(OUTPUT),
        descriptors: Some(6),
        file_bytes: Some(100),
    })
}

/// A world with files, recorded, and with input if `world` is even.
fn recorded_host(world: u8) -> Host<TestSystem> {
    let mut system = TestSystem::with_stdin(b"one line\nand another one");
    system.realtime = u64::from(world);
    if world & 1 != 0 {
        system.stdin.clear();
    }
    let files = MemFs::new(
        mem::Limits {
            bytes: 10_000,
            entries: 8,
        },
        7,
    );
    let context = builder()
        .args(["guest", "argument"])
        .and_then(|builder| builder.env("NAME", "value"))
        .and_then(|builder| builder.preopen(files, "/", Permission::ReadWrite))
        .expect("it is a world")
        .build(system);
    Host::new(context).recorded()
}

/// The functions that a guest calls, with their arguments.
const CALLS: [(&str, &[u64]); 24] = [
    ("args_sizes_get", &[0x100, 0x104]),
    ("args_get", &[0x200, 0x240]),
    ("environ_sizes_get", &[0x108, 0x10c]),
    ("environ_get", &[0x280, 0x2a0]),
    ("clock_time_get", &[0, 1, 0x110]),
    ("clock_time_get", &[1, 1, 0x118]),
    ("random_get", &[0x300, 40]),
    ("fd_read", &[0, 0, 2, 0x120]),
    ("fd_read", &[4, 0, 2, 0x120]),
    ("fd_write", &[1, 0, 2, 0x124]),
    ("fd_write", &[2, 0, 1, 0x124]),
    ("fd_write", &[4, 0, 2, 0x124]),
    ("path_open", &[3, 0, 0x80, 1, 1, u64::MAX >> 34, 0, 0, 0x128]),
    ("path_filestat_get", &[3, 0, 0x80, 1, 0x400]),
    ("fd_seek", &[4, 0, 0, 0x130]),
    ("fd_readdir", &[3, 0x1000, 0x400, 0, 0x12c]),
    ("fd_prestat_get", &[3, 0x140]),
    ("fd_prestat_dir_name", &[3, 0x160, 1]),
    ("poll_oneoff", &[0x500, 0x600, 1, 0x138]),
    ("fd_close", &[4]),
    ("fd_sync", &[99]),
    ("random_get", &[0xffff_fff0, 40]),
    ("fd_filestat_get", &[4, 0x401]),
    ("proc_exit", &[7]),
];

/// Makes these calls; one more than there are is growth of the memory, for which the system has no room if `refuses`.
fn play(mut host: Host<TestSystem>, calls: &[u8], refuses: bool) -> Seen {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| Engine::new(&engine::config()));
    // What the guest's memory begins with: two buffers, the name of a file, and a subscription to a clock.
    let mut start = [0; 0x540];
    for (at, number) in [
        (0, 0x700_u32),
        (4, 16),
        (8, 0x800),
        (12, 60),
        (0x80, u32::from(b'a')),
    ] {
        start[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    start[0x518..0x520].copy_from_slice(&5_u64.to_le_bytes());
    host.growth.bounds.memory = Some(3 << 16);
    let mut store = Store::new(engine, host);
    store.limiter(|host| &mut host.growth);
    let Ok(memory) = Memory::new(&mut store, MemoryType::new(1, Some(PAGES))) else {
        // Events may say that there was no room for it.
        let core = store.into_data().context.core;
        return Seen {
            answers: Vec::new(),
            end: None,
            exceeded: core.exceeded(),
            memory: Vec::new(),
            system: core.system,
        };
    };
    memory
        .write(&mut store, 0, &start)
        .expect("it is smaller than a page");
    store.data_mut().attach_memory(memory);
    if refuses {
        store.data_mut().growth.prepare = |_, _| false;
    }

    let mut answers = Vec::new();
    let mut end = None;
    for call in calls.iter().take(MOST_CALLS) {
        let Some((name, arguments)) = CALLS.get(usize::from(*call) % (CALLS.len() + 1)) else {
            answers.push(Answer::Grown(memory.grow(&mut store, 1).is_ok()));
            continue;
        };
        let ty = signature(name, arguments);
        let function = resolve(&mut store, "wasi_snapshot_preview1", name, &ty)
            .expect("its type is right")
            .expect("it is a function of WASI");
        let arguments: Vec<_> = arguments
            .iter()
            .zip(ty.params())
            .map(|(value, ty)| match ty {
                ValType::I64 => Val::I64(value.cast_signed()),
                _ => Val::I32(u32::try_from(*value).expect("it is an i32").cast_signed()),
            })
            .collect();
        let mut results = vec![Val::I32(0); ty.results().len()];
        match function.call(&mut store, &arguments, &mut results) {
            Ok(()) => match results.first() {
                Some(Val::I32(errno)) => answers.push(Answer::Errno(*errno)),
                other => panic!("{name} answers {other:?}"),
            },
            Err(error) => {
                end = Some(stop(&error).expect("only calls end a guest here").clone());
                break;
            }
        }
    }
    let bytes = memory.data(&store).to_vec();
    let mut host = store.into_data();
    if end.is_none()
        && let Err(stop) = host.finish()
    {
        end = Some(Stop::Replay(stop));
    }
    let core = host.context.core;
    assert!(core.system.stdout.len() + core.system.stderr.len() <= usize::try_from(OUTPUT).unwrap_or(0));
    Seen {
        answers,
        end,
        exceeded: core.exceeded(),
        memory: bytes,
        system: core.system,
    }
}

/// A function's type: of 64 bits are times, rights, offsets and cookies.
fn signature(name: &str, arguments: &[u64]) -> FuncType {
    let long: &[usize] = match name {
        "clock_time_get" => &[1],
        "path_open" => &[5, 6],
        "fd_seek" => &[1],
        "fd_readdir" => &[3],
        _ => &[],
    };
    let types = (0..arguments.len()).map(|place| match long.contains(&place) {
        true => ValType::I64,
        false => ValType::I32,
    });
    let results = (name != "proc_exit").then_some(ValType::I32);
    FuncType::new(types, results)
}
