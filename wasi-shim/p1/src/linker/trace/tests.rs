//! Recording and replaying calls: what is written, what is read back, and what is refused.

use alloc::{string::ToString as _, vec, vec::Vec};

use wasi_core::{Stream, WasiCtxBuilder, limits::Limit, testing::TestSystem};

use super::*;
use crate::{
    abi::Errno,
    error::Trap,
    linker::trace::event::{Ended, Event, Malformed},
};

type TestHost = Host<TestSystem, ()>;

fn recording() -> TestHost {
    Host::new(WasiCtxBuilder::new().build(TestSystem::default())).recorded()
}

/// Records a call of this function that ends so and leaves `after` in memory.
fn record(
    host: &mut TestHost,
    function: Function,
    args: &[u64],
    before: &mut [u8],
    after: &mut [u8],
    end: Result<u32, &Stop>,
) {
    let arguments = Arguments::new(args.iter().copied());
    let Step::Make(pending) = host.before(&mut GuestMemory::new(before), function, arguments) else {
        panic!("a recorded call is made");
    };
    host.after(&GuestMemory::new(after), &pending, end);
}

fn events(host: &TestHost) -> Vec<u8> {
    host.context.core.system.recording.clone()
}

#[test]
fn a_call_on_the_wire() {
    let mut host = recording();
    let mut before = [0; 300];
    let mut after = [0; 300];
    after[200..208].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    record(
        &mut host,
        Function::ClockTimeGet,
        &[1, 300, 200],
        &mut before,
        &mut after,
        Ok(0),
    );
    let check = touched::check(
        &GuestMemory::new(&mut before),
        Function::ClockTimeGet,
        &Arguments::default(),
    );
    let [a, b, c, d] = check.to_le_bytes();
    assert_eq!(
        events(&host),
        [
            25, 0, 5, // length, a call, the function
            1, 0xac, 2, 0xc8, 1, // its arguments: 1, 300, 200
            a, b, c, d, // nothing was read
            0, 0, // errno 0
            0, // nothing was printed
            0xc8, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, // 8 bytes at 200
        ]
    );
    host.finish().unwrap();
    assert_eq!(events(&host)[26..], [1, 2]);
    // Each is with whoever keeps it when the guest ends.
    assert_eq!(host.context.core.system.kept.last(), Some(&28));
}

/// Functions have places for good: recordings name them so.
#[test]
fn functions_have_their_places() {
    let names: Vec<_> = (0..=u8::MAX)
        .map_while(Function::from_place)
        .map(Function::name)
        .collect();
    let document = include_str!("../../../../../docs/replay.md");
    let listed: Vec<_> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | `"))
        .filter_map(|(number, name)| Some((number.parse::<usize>().ok()?, name.split('`').next()?)))
        .collect();
    let expected: Vec<_> = names.into_iter().enumerate().collect();
    assert_eq!(listed, expected);
    assert_eq!(Function::from_place(68), None);
}

#[test]
fn every_end_is_read_back() {
    let traps = [
        Trap::OutOfBounds {
            start: u32::MAX,
            len: u64::MAX,
            memory: 65536,
        },
        Trap::Misaligned { start: 3, align: 4 },
    ];
    let stops = [
        Stop::Exit(0),
        Stop::Exit(u32::MAX),
        Stop::Limit(Limit::Descriptors),
        Stop::Limit(Limit::FileBytes),
        Stop::Limit(Limit::OutputBytes),
    ];
    for stop in stops.into_iter().chain(traps.map(Stop::Trap)) {
        let mut host = recording();
        record(&mut host, Function::ProcRaise, &[6], &mut [], &mut [], Err(&stop));
        let nothing = WasiCtxBuilder::new().build(TestSystem::default());
        let mut replayed = TestHost::new(nothing).replayed(events(&host));
        let arguments = Arguments::new([6].into_iter());
        match replayed.before(&mut GuestMemory::new(&mut []), Function::ProcRaise, arguments) {
            Step::Answered(end) => assert_eq!(end, Err(stop.clone())),
            Step::Make(_) => panic!("a replayed call is not made"),
        }
        let exceeded = match stop {
            Stop::Limit(limit) => Some(limit),
            _ => None,
        };
        assert_eq!(replayed.context.core.exceeded(), exceeded);
    }
}

/// The element at 0 names 8 bytes at 4, which are its own length and what follows.
#[test]
fn buffers_that_overlap_their_list_are_recorded_whole() {
    let mut host = recording();
    let mut before = vec![0; 64];
    before[..8].copy_from_slice(&[4, 0, 0, 0, 8, 0, 0, 0]);
    let mut after = before.clone();
    after[4..7].copy_from_slice(b"abc");
    after[32] = 3;
    record(
        &mut host,
        Function::FdRead,
        &[0, 0, 1, 32],
        &mut before,
        &mut after,
        Ok(0),
    );
    let events = events(&host);
    let (Event::Call(call), rest) = event::next(&events).unwrap().unwrap() else {
        panic!("a call");
    };
    assert_eq!((call.function, rest), (Function::FdRead as u8, &[][..]));
    let mut arguments = [0; 4];
    let answer = call.read(&mut arguments).unwrap();
    assert_eq!(arguments, [0, 0, 1, 32]);
    let writes: Result<Vec<_>, _> = answer.writes.collect();
    assert_eq!(writes, Ok(vec![(32, &after[32..36]), (4, &after[4..12])]));
}

#[test]
fn what_is_printed_is_printed_again_and_kept_at_once() {
    let mut host = recording();
    let mut memory = vec![0; 64];
    memory[..8].copy_from_slice(&[16, 0, 0, 0, 8, 0, 0, 0]);
    memory[16..24].copy_from_slice(b"printed!");
    let mut after = memory.clone();
    after[8] = 5;
    record(
        &mut host,
        Function::FdWrite,
        &[2, 0, 1, 8],
        &mut memory,
        &mut after,
        Ok(0),
    );
    let system = &host.context.core.system;
    assert_eq!(system.kept, [system.recording.len()]);
    let events = system.recording.clone();
    let (Event::Call(call), _) = event::next(&events).unwrap().unwrap() else {
        panic!("a call");
    };
    let answer = call.read(&mut [0; 4]).unwrap();
    assert_eq!(
        (answer.end, answer.output),
        (Ended::Errno(0), Some((Stream::Stderr, 5)))
    );

    let nothing = WasiCtxBuilder::new().build(TestSystem::default());
    let mut replayed = TestHost::new(nothing).replayed(events.clone());
    let arguments = || Arguments::new([2, 0, 1, 8].into_iter());
    let mut fresh = memory.clone();
    let step = replayed.before(&mut GuestMemory::new(&mut fresh), Function::FdWrite, arguments());
    assert!(matches!(step, Step::Answered(Ok(0))));
    assert_eq!(replayed.context.core.system.stderr, b"print");
    assert_eq!(fresh, after);
    // Other bytes in its buffers.
    memory[17] = 0;
    let nothing = WasiCtxBuilder::new().build(TestSystem::default());
    let mut replayed = TestHost::new(nothing).replayed(events);
    match replayed.before(&mut GuestMemory::new(&mut memory), Function::FdWrite, arguments()) {
        Step::Answered(Err(Stop::Replay(ReplayStop::Diverged(how)))) => {
            assert_eq!(
                how,
                "after 0 calls, fd_write(2, 0, 1, 8) finds other bytes in memory than it had found there"
            );
        }
        _ => panic!("it is another call"),
    }
    assert_eq!(replayed.context.core.system.stderr, b"");
}

#[test]
fn what_ends_too_early_is_the_end_and_what_means_nothing_is_an_error() {
    assert_eq!(event::next(&[]), Ok(None));
    for cut in [&[1][..], &[3, 1, 1], &[0x80], &[0xff, 0xff, 0xff, 0xff, 0x7f, 2]] {
        assert_eq!(event::next(cut), Ok(None), "{cut:?}");
    }
    assert_eq!(event::next(&[1, 2, 9]), Ok(Some((Event::End, &[9][..]))));
    assert_eq!(
        event::next(&[3, 1, 7, 2]),
        Ok(Some((Event::Refused { first: 7, count: 2 }, &[][..])))
    );
    for malformed in [
        &[0][..],                                                   // no kind
        &[1, 3],                                                    // no kind of ours
        &[2, 2, 0],                                                 // an end with content
        &[2, 1, 1],                                                 // growths without a number
        &[4, 1, 1, 1, 1],                                           // growths with more
        &[1, 0],                                                    // a call without a function
        &[0xff; 11],                                                // a number without an end
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2], // a number of 65 bits
    ] {
        assert_eq!(event::next(malformed), Err(Malformed), "{malformed:?}");
    }
    let errno = u8::try_from(Errno::ALL.len()).unwrap() + 1;
    for rest in [
        &[0, 0, 0][..],                                    // half a check
        &[0, 0, 0, 0, 0, errno, 0],                        // no errno
        &[0, 0, 0, 0, 9, 0, 0],                            // no end
        &[0, 0, 0, 0, 4, 3, 0],                            // no limit
        &[0, 0, 0, 0, 0, 0, 3],                            // no stream
        &[0, 0, 0, 0, 0, 0, 1],                            // no count
        &[0, 0, 0, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 0], // a code of 33 bits
    ] {
        let mut bytes = vec![u8::try_from(rest.len() + 2).unwrap(), 0, 0];
        bytes.extend(rest);
        let Ok(Some((Event::Call(call), _))) = event::next(&bytes) else {
            panic!("{rest:?}");
        };
        assert_eq!(call.read(&mut []), Err(Malformed), "{rest:?}");
    }
    // What it wrote: an address, a length, and fewer bytes than that.
    let bytes = [11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 2]
        .iter()
        .chain(&[7])
        .copied()
        .collect::<Vec<u8>>();
    if let Ok(Some((Event::Call(call), _))) = event::next(&bytes[..12]) {
        let answer = call.read(&mut []).unwrap();
        assert_eq!(answer.writes.collect::<Result<Vec<_>, _>>(), Err(Malformed));
    } else {
        panic!("a call");
    }
}

#[test]
fn numbers_of_any_length_are_read_back() {
    for number in [
        0,
        1,
        0x7f,
        0x80,
        0x3fff,
        0x4000,
        u64::from(u32::MAX),
        1 << 63,
        u64::MAX,
    ] {
        let mut bytes = Vec::new();
        put_number(&mut bytes, number);
        assert_eq!(
            u64::try_from(bytes.len()).unwrap(),
            number_length(number),
            "{number}"
        );
        let mut whole = Vec::new();
        let mut one = Vec::new();
        put_number(&mut one, number);
        whole.push(u8::try_from(one.len() + 2).unwrap());
        whole.push(1);
        whole.extend(one);
        whole.push(1);
        assert_eq!(
            event::next(&whole),
            Ok(Some((
                Event::Refused {
                    first: number,
                    count: 1
                },
                &[][..]
            )))
        );
    }
    assert_eq!(
        ReplayStop::Damaged("x".to_string()).to_string(),
        "the recording is damaged: x"
    );
}
