//! The launcher's session with a machine that does as it likes: sends what it likes, changes the shared buffer while
//! the launcher reads it, takes no answers, ends at any moment; and a virtiofsd that greets as it likes.
//!
//! The session is the launcher's own; see its `fuzzing`. What must hold: it never panics, it ends, it keeps no more
//! than a bound, the guest's streams get just what the machine sent as such, in order, standard input loses no more
//! than was asked for, and of the memory only the window is looked at or written to.

mod model;
mod player;
mod script;
mod stores;

use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};

use boot_protocol::console::Window;
use hermit_wasm_vm::fuzzing::{self, Ended, Report, Retained, Settings};

use model::{Model, Segment};
use player::{Ends, Player};
use script::{BASE, SIZE};
use stores::Stores;

/// The first byte says what is told to the session, the second what its streams are, the rest is the machine's script.
pub fn run(data: &[u8]) {
    ignore_sigpipe();
    let Some(([told, streams], script)) = data.split_first_chunk() else {
        return;
    };
    if *told == 0xff {
        return greeting(script);
    }
    let settings = Settings {
        late: told & 0xf0 == 0xf0,
        only_boot: told & 0x30 == 0x30,
        show_text: told & 1 != 0,
        show_hypervisor: told & 2 != 0,
        show_diagnostics: told & 4 != 0,
    };
    let memory = told & 8 == 0;
    let (ends, launchers) = Ends::new(*streams).expect("there are descriptors");
    let mut player = Player::new(ends, script);
    let described = fuzzing::Memory {
        size: SIZE,
        base: BASE,
        first: script::FIRST,
        end: u64::MAX,
    };
    let report = fuzzing::session(
        launchers,
        memory.then_some(described),
        settings,
        |file, kept, interrupt| {
            assert!(kept.is_none_or(Retained::is_bounded), "it keeps {kept:?}");
            player.turn(file, interrupt);
        },
    )
    .expect("there are descriptors and memory");
    player.finish();
    let model = Model::of(
        &player.sent,
        memory,
        settings.show_diagnostics,
        settings.only_boot,
    );
    check_end(&model, &report, &settings, &player);
    check_output(&model, &report, &settings, &player);
    check_input(&model, &player);
    check_shown(&report);
}

/// As Rust's own `main` does.
fn ignore_sigpipe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGPIPE, flag).expect("SIGPIPE can be caught");
    });
}

/// Whatever virtiofsd answers, it is taken for one just if it answers the request.
fn greeting(reply: &[u8]) {
    let (mut daemon, launcher) = UnixStream::pair().expect("there are descriptors");
    daemon.write_all(reply).expect("a socket takes so much");
    daemon.shutdown(Shutdown::Write).expect("it is connected");
    let right = reply.len() >= 20 && reply.starts_with(&1u32.to_ne_bytes());
    assert_eq!(fuzzing::greets(&launcher), right);
}

/// The session ended for a reason that there was.
fn check_end(model: &Model, report: &Report, settings: &Settings, player: &Player<'_>) {
    match &report.ended {
        Ended::Exit(code) => assert_eq!(Some(*code), model.exit),
        Ended::Started => assert!(settings.only_boot && model.started),
        Ended::Gone => assert!(model.exit.is_none() && !model.broken && player.gone()),
        Ended::KvmFailed => assert!(player.said.windows(3).any(|word| word == b"KVM")),
        Ended::Late => assert!(settings.late),
        Ended::Stopped => assert!(player.stopped),
        Ended::Output => assert!(player.readers_left),
        Ended::Protocol(what) => {
            assert!(model.broken || model.doubtful, "{what}");
            assert!(what.len() < 200);
        }
        Ended::Failed(error) => panic!("{error}"),
    }
    // What arrives together with a broken frame may still be looked at.
    assert!(report.started <= (model.started || model.broken));
    assert!(report.diagnostic.len() <= 2 * 64 * 1024);
    if is_whole(&report.ended) {
        assert_eq!(report.diagnostic, model.diagnostic);
    }
}

/// Whether everything that the machine had sent was done before the end.
const fn is_whole(ended: &Ended) -> bool {
    matches!(ended, Ended::Exit(_) | Ended::Gone)
}

/// Standard output and standard error have what the machine sent there, in order.
fn check_output(model: &Model, report: &Report, settings: &Settings, player: &Player<'_>) {
    let whole = is_whole(&report.ended) && !player.lost;
    compare(&model.stdout, &player.stdout, whole, &player.stores);
    if settings.show_text || settings.show_hypervisor {
        // Lines of text stand between what is compared. They grow by a prefix, and by what replaces bad UTF-8.
        let most = expected(&model.stderr).count() + 8 * (player.sent.len() + player.said.len()) + 16;
        assert!(player.stderr.len() <= most);
        if whole {
            contains(&model.stderr, &player.stderr, &player.stores);
        }
    } else {
        compare(&model.stderr, &player.stderr, whole, &player.stores);
    }
}

/// A byte of output: itself, or the place of the memory where it is or was.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Byte(u8),
    Place(u64),
}

impl Expected {
    fn is(self, byte: u8, stores: &Stores) -> bool {
        match self {
            Self::Byte(expected) => byte == expected,
            Self::Place(at) => stores.held(at, byte),
        }
    }
}

fn expected(segments: &[Segment]) -> impl Iterator<Item = Expected> {
    segments.iter().flat_map(|segment| {
        let (bytes, places) = match segment {
            Segment::Bytes(bytes) => (bytes.as_slice(), 0..0),
            Segment::Memory { at, length } => (&[][..], *at..at + length),
        };
        let bytes = bytes.iter().copied().map(Expected::Byte);
        bytes.chain(places.map(Expected::Place))
    })
}

/// The output is what is expected, or its beginning.
fn compare(segments: &[Segment], output: &[u8], whole: bool, stores: &Stores) {
    let mut expected = expected(segments);
    for (at, byte) in output.iter().enumerate() {
        let Some(expected) = expected.next() else {
            panic!("byte {at} of the output was never sent");
        };
        assert!(expected.is(*byte, stores), "byte {at}: {byte}, not {expected:?}");
    }
    if whole {
        assert!(
            expected.next().is_none(),
            "the output ends after {} bytes",
            output.len()
        );
    }
}

/// All that is expected is in the output, in order.
fn contains(segments: &[Segment], output: &[u8], stores: &Stores) {
    let mut output = output.iter();
    for expected in expected(segments) {
        assert!(
            output.any(|byte| expected.is(*byte, stores)),
            "{expected:?} is missing"
        );
    }
}

/// Of standard input the machine got what it asked for and no more, and nothing else of its memory has changed.
fn check_input(model: &Model, player: &Player<'_>) {
    let answers = &player.answers;
    assert!(answers.polls <= model.polls);
    assert!(answers.times <= model.times);
    assert!(answers.syncs <= model.syncs);
    assert!(answers.data.len() <= model.reads.len());
    let mut given = 0;
    for (length, most) in answers.data.iter().zip(&model.reads) {
        assert!(length <= most, "{length} bytes for a READ of {most}");
        given += length;
    }
    let most: usize = model.reads.iter().sum();
    let taken = player.taken_input();
    assert!(taken <= most, "{taken} bytes are taken, {most} were asked for");
    if !player.is_file() {
        assert!(given <= taken, "{given} bytes are given, {taken} were taken");
    }
    if let Some(memory) = &player.memory {
        let input = |window: Window| {
            let at = window.address - BASE + u64::from(window.output);
            (at, u64::from(window.input))
        };
        player.stores.check(memory, model.window.map(input));
    }
}

/// What is shown of the machine's text commands no terminal, and is not long.
fn check_shown(report: &Report) {
    let text = String::from_utf8(report.transcript.clone()).expect("it is UTF-8");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
    // Twice 128 KiB, in which each byte may have become three, or a line with a prefix.
    assert!(text.len() < 2 * 128 * 1024 * 8);
    for line in &report.lines {
        assert!(!line.contains('\n'));
    }
}
