//! What is refused, and that nothing panics.

use super::fixture::*;
use super::{ElfError, Image, Segment, Source, Target, Tls, cut, dispensable, memory_size, prelink};
use crate::ranges::Span;

const BASE: u64 = 0x20_0000;

fn parse(file: &[u8]) -> Result<Image, ElfError> {
    Image::parse(file, Target::X86_64)
}

/// The error for the valid file with some bytes replaced.
fn refused(at: usize, bytes: &[u8]) -> ElfError {
    let mut file = application();
    put(&mut file, at, bytes);
    parse(&file).unwrap_err()
}

/// Loads to memory that is not zero, with bytes behind that must stay.
fn load(file: &[u8]) -> Result<Vec<u8>, ElfError> {
    let image = parse(file)?;
    let size = usize::try_from(image.size).unwrap();
    let mut memory = vec![0xaa; size + 16];
    image.load(&mut memory, Source::File(file))?;
    image.relocate(&mut memory[..size], BASE)?;
    assert_eq!(memory[size..], [0xaa; 16]);
    memory.truncate(size);
    Ok(memory)
}

/// As the build script does it, and then as the loader does.
fn load_prelinked(file: &[u8]) -> Vec<u8> {
    let size = memory_size(file, Target::X86_64).unwrap();
    let mut memory = vec![0xaa; size];
    let len = prelink(file, &mut memory, Target::X86_64, BASE).unwrap();
    assert!(
        memory[len..].iter().all(|&byte| byte == 0),
        "what is cut off is zero"
    );

    let image = parse(&memory[..len]).unwrap();
    assert_eq!(image.fixed, Some(BASE));
    assert!(image.loads_in_place());
    memory[len..].fill(0xaa);
    image.load(&mut memory, Source::InPlace).unwrap();
    memory
}

fn word(memory: &[u8], at: u64) -> u64 {
    let at = usize::try_from(at).unwrap();
    u64::from_le_bytes(memory[at..at + 8].try_into().unwrap())
}

fn part(memory: &[u8], start: u64, len: u64) -> &[u8] {
    &memory[usize::try_from(start).unwrap()..][..usize::try_from(len).unwrap()]
}

#[test]
fn a_valid_application() {
    let image = parse(&application()).unwrap();
    assert_eq!(image.size, IMAGE_LEN as u64);
    assert_eq!(image.entry, 0x1310);
    assert_eq!(
        image.tls,
        Some(Tls {
            start: DATA_AT,
            file_size: 8,
            memory_size: 24,
            align: 16
        })
    );
    assert_eq!(
        image.relro,
        Some(Span {
            start: 0x2000,
            end: 0x3000
        })
    );
    assert_eq!(image.segments().len(), 4);
    assert_eq!(
        image.segments()[1],
        Segment {
            file: TEXT,
            memory: Span {
                start: TEXT_AT,
                end: 0x1400
            },
            write: false,
            execute: true
        }
    );
    assert!(image.segments()[3].write && !image.segments()[3].execute);
}

#[test]
fn loading_copies_zeroes_and_relocates() {
    let file = application();
    for memory in [load(&file).unwrap(), load_prelinked(&file)] {
        // Prelinking changes the headers.
        assert_eq!(part(&memory, 0x200, 0x100), &file[0x200..0x300]);
        assert_eq!(part(&memory, TEXT_AT, 0x100), &file[0x300..0x400]);
        assert!(
            part(&memory, RELRO_AT + 0x100, 0xb00)
                .iter()
                .all(|&byte| byte == 0)
        );
        assert_eq!(word(&memory, DATA_AT), BASE + 0x1310);
        assert_eq!(word(&memory, DATA_AT + 8), BASE + 0x1340);
        assert_eq!(word(&memory, DATA_AT + 16), BASE + 0x1344);
        assert_eq!(
            word(&memory, DATA_AT + 24),
            0,
            "a weak symbol that nobody defines"
        );
        assert_eq!(part(&memory, DATA_AT + 0x20, 0x60), [0xdd; 0x60]);
        assert!(part(&memory, DATA_AT + 0x80, 0x180).iter().all(|&byte| byte == 0));
    }
}

#[test]
fn prelinking_keeps_what_the_loader_needs() {
    let file = application();
    let before = parse(&file).unwrap();
    let mut memory = vec![0; IMAGE_LEN];
    let len = prelink(&file, &mut memory, Target::X86_64, BASE).unwrap();
    assert_eq!(len, 0x3580, "up to the zeroed part of the last segment");
    let after = parse(&memory[..len]).unwrap();
    assert_eq!(
        (after.size, after.entry, after.tls, after.relro),
        (before.size, before.entry, before.tls, before.relro)
    );
    for (before, after) in before.segments().iter().zip(after.segments()) {
        assert_eq!(before.memory, after.memory);
        assert_eq!((before.write, before.execute), (after.write, after.execute));
        assert_eq!(after.file.start, before.memory.start);
        assert_eq!(after.file.len(), before.file.len());
    }
    for len in 0..len {
        assert!(parse(&memory[..len]).is_err(), "{len}");
    }
    assert!(
        prelink(&memory[..len], &mut vec![0; IMAGE_LEN], Target::X86_64, BASE).is_err(),
        "twice"
    );
    assert!(
        prelink(&file, &mut [0; IMAGE_LEN - 1], Target::X86_64, BASE).is_err(),
        "too small"
    );
}

/// Found by the fuzz target `application`: loading by relocation stored it, the prelinked file lost it.
#[test]
fn prelinking_refuses_what_it_would_lose() {
    for (segment, zeros) in [(RELRO_AT, 0x100), (DATA_AT, 0x80)] {
        for (at, lost) in [(zeros - 8, false), (zeros - 7, true), (zeros, true)] {
            let mut file = application();
            put(&mut file, RELOCATIONS, &(segment + at).to_le_bytes());
            // All bytes of the value count.
            put(
                &mut file,
                RELOCATIONS + 16,
                &0x1111_1111_1111_1111_u64.to_le_bytes(),
            );
            assert!(load(&file).is_ok());
            let end = prelink(&file, &mut [0; IMAGE_LEN], Target::X86_64, BASE);
            let expected = ElfError::Unsupported("a relocation of memory that starts as zeros");
            assert_eq!(end.err(), lost.then_some(expected), "{segment:#x} {at:#x}");
        }
    }
}

#[test]
fn relocations_are_cut_off_once_they_are_done() {
    let file = with_many_relocations();
    let before = parse(&file).unwrap();
    let size = usize::try_from(before.size).unwrap();
    let at = dispensable(&file, Target::X86_64).unwrap();
    assert_eq!(at, MANY, "whole pages; the headers fit behind them");
    let mut memory = vec![0; size];
    let len = prelink(&file, &mut memory, Target::X86_64, BASE - at as u64).unwrap();
    let whole = memory.clone();
    memory.truncate(len);
    cut(&mut memory, at).unwrap();
    let short = &memory[at..];

    let after = parse(short).unwrap();
    assert_eq!(after.fixed, Some(BASE));
    assert!(after.loads_in_place());
    let at = at as u64;
    assert_eq!((after.size, after.entry), (before.size - at, before.entry - at));
    assert_eq!(
        after.tls.map(|tls| tls.start + at),
        before.tls.map(|tls| tls.start)
    );
    assert_eq!(
        after.relro.map(|relro| relro.start + at),
        before.relro.map(|relro| relro.start)
    );
    for (before, after) in before.segments().iter().zip(after.segments()) {
        assert_eq!(after.memory.end + at, before.memory.end);
        assert_eq!((before.write, before.execute), (after.write, after.execute));
    }
    // From the constants on, every byte is where it would be.
    let constants = RELOCATIONS + 96 + MANY;
    assert_eq!(memory[constants..], whole[constants..len]);
    for len in 0..short.len() {
        assert!(parse(&short[..len]).is_err(), "{len}");
    }
}

#[test]
fn only_what_is_known_to_be_used_up_is_cut_off() {
    assert_eq!(dispensable(&application(), Target::X86_64), Ok(0));
    let file = with_many_relocations();
    let sections = file.len() - 4 * 64;
    // No sections; constants among the relocations; a section that is not in memory at all.
    let mut none = file.clone();
    put(&mut none, E_SHNUM, &[0, 0]);
    assert_eq!(dispensable(&none, Target::X86_64), Ok(0));
    let mut among = file.clone();
    put(&mut among, sections + 2 * 64 + 4, &[1]);
    assert_eq!(dispensable(&among, Target::X86_64), Ok(0));
    put(&mut among, sections + 2 * 64 + 8, &[0]);
    assert_eq!(dispensable(&among, Target::X86_64), Ok(MANY));
    assert!(cut(&mut [0; 100], 0x1000).is_err(), "damage does not panic");
}

#[test]
fn every_truncation_is_told() {
    let file = application();
    for len in 0..file.len() {
        let error = parse(&file[..len]).unwrap_err();
        match len {
            0 => assert_eq!(error, ElfError::Empty),
            1..4 => assert_eq!(error, ElfError::NotElf),
            _ => assert!(matches!(error, ElfError::Truncated { .. }), "{len}: {error:?}"),
        }
    }
}

#[test]
fn no_damage_panics() {
    let file = application();
    for at in 0..file.len() {
        for flip in [1, 0x80, 0xff, file[at]] {
            let mut damaged = file.clone();
            damaged[at] ^= flip;
            if parse(&damaged).is_ok_and(|image| image.size < 1 << 20) {
                // Whether it loads does not matter: it may be damage that nobody can tell.
                let _ = load(&damaged);
                let mut memory = vec![0; memory_size(&damaged, Target::X86_64).unwrap()];
                let _ = prelink(&damaged, &mut memory, Target::X86_64, BASE);
            }
        }
    }
}

#[test]
fn no_number_panics() {
    let file = application();
    for at in (0..file.len() - 8).step_by(4) {
        for value in [
            0,
            1,
            0xffff,
            1 << 31,
            1 << 32,
            1 << 52,
            u64::MAX / 2,
            u64::MAX - 8,
            u64::MAX,
        ] {
            let mut damaged = file.clone();
            put(&mut damaged, at, &u64::to_le_bytes(value));
            if parse(&damaged).is_ok_and(|image| image.size < 1 << 20) {
                let _ = load(&damaged);
            }
        }
    }
}

#[test]
fn random_damage_does_not_panic() {
    let file = application();
    // A linear congruential generator: the same run every time.
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let mut loaded = 0;
    for _ in 0..20_000 {
        let mut damaged = file.clone();
        for _ in 0..1 + next() % 8 {
            let at = next() % damaged.len();
            damaged[at] = u8::try_from(next() & 0xff).unwrap();
        }
        if parse(&damaged).is_ok_and(|image| image.size < 1 << 20) && load(&damaged).is_ok() {
            loaded += 1;
        }
    }
    assert!(
        loaded > 100,
        "the damage was too coarse to test loading: {loaded}"
    );
}

#[test]
fn other_files() {
    assert_eq!(parse(b"").unwrap_err(), ElfError::Empty);
    assert_eq!(parse(b"\0asm\x01\0\0\0").unwrap_err(), ElfError::WebAssembly);
    assert_eq!(parse(b"#!/bin/sh\n").unwrap_err(), ElfError::NotElf);
    assert_eq!(refused(4, &[1]), ElfError::WrongClass);
    assert_eq!(refused(5, &[2]), ElfError::WrongClass);
    assert_eq!(
        refused(E_MACHINE, &[183, 0]),
        ElfError::WrongMachine {
            found: 183,
            expected: 62
        }
    );
    assert!(matches!(refused(E_TYPE, &[1, 0]), ElfError::Unsupported(_)));
    assert_eq!(
        refused(E_TYPE, &[2, 0]),
        ElfError::Unsupported("relocations, but a fixed address")
    );
    assert_eq!(
        refused(E_SHNUM, &[2, 0]),
        ElfError::Truncated {
            what: "section headers",
            len: FILE_LEN as u64,
            end: Some(0x580 + 128)
        }
    );
}

#[test]
fn not_a_hermit_application() {
    assert_eq!(refused(NOTE + 12, b"hermit"), ElfError::NotHermit);
    assert_eq!(refused(NOTE + 8, &[1]), ElfError::NotHermit);
    assert_eq!(refused(program_header(PH_NOTE, 0), &[0]), ElfError::NotHermit);
    assert_eq!(
        refused(program_header(PH_NOTE, P_FILESZ), &[20]),
        ElfError::NotHermit
    );
    assert_eq!(refused(NOTE + 20, &[5]), ElfError::EntryVersion(5));
    // A description that is not there.
    assert_eq!(refused(NOTE + 4, &[0]), ElfError::NotHermit);
    // The note after another one.
    let mut file = application();
    file.extend(b"\x04\0\0\0\x05\0\0\0\x01\0\0\0GNU\0abcde\0\0\0");
    file.extend(application().get(NOTE..NOTE + 24).unwrap());
    put(
        &mut file,
        program_header(PH_NOTE, P_OFFSET),
        &(FILE_LEN as u64).to_le_bytes(),
    );
    put(
        &mut file,
        program_header(PH_NOTE, P_FILESZ),
        &48_u64.to_le_bytes(),
    );
    assert!(parse(&file).is_ok());
}

#[test]
fn impossible_segments() {
    let data = |field| program_header(PH_DATA, field);
    let damaged = |error| matches!(error, ElfError::Damaged(_));
    let unsupported = |error| matches!(error, ElfError::Unsupported(_));
    assert!(
        damaged(refused(data(P_MEMSZ), &0x7f_u64.to_le_bytes())),
        "smaller than in the file"
    );
    assert!(damaged(refused(data(P_MEMSZ), &u64::MAX.to_le_bytes())));
    assert!(damaged(refused(data(P_VADDR), &(u64::MAX - 1).to_le_bytes())));
    assert!(
        unsupported(refused(data(P_VADDR), &0x2fff_u64.to_le_bytes())),
        "shares a page"
    );
    assert!(unsupported(refused(data(P_ALIGN), &0x40_0000_u64.to_le_bytes())));
    assert!(unsupported(refused(
        program_header(0, P_VADDR),
        &0x100_u64.to_le_bytes()
    )));
    assert!(matches!(
        refused(data(P_FILESZ), &0x200_u64.to_le_bytes()),
        ElfError::Truncated {
            what: "segments",
            end: Some(0x700),
            ..
        }
    ));
    assert!(matches!(
        refused(data(P_OFFSET), &u64::MAX.to_le_bytes()),
        ElfError::Truncated { end: None, .. }
    ));
    assert!(
        damaged(refused(E_ENTRY, &0x1400_u64.to_le_bytes())),
        "one past the code"
    );
    assert!(damaged(refused(E_ENTRY, &DATA_AT.to_le_bytes())), "in data");
    assert!(damaged(refused(
        program_header(PH_TLS, P_FILESZ),
        &25_u64.to_le_bytes()
    )));
    assert!(damaged(refused(
        program_header(PH_TLS, P_VADDR),
        &0x36f9_u64.to_le_bytes()
    )));
    assert!(damaged(refused(54, &[57, 0])));
    assert!(damaged(refused(56, &[65, 0])));
}

#[test]
fn impossible_relocations() {
    let dynamic = |entry: usize, tag: u64, value: u64| {
        let mut file = application();
        put(&mut file, DYNAMIC + 16 * entry, &tag.to_le_bytes());
        put(&mut file, DYNAMIC + 16 * entry + 8, &value.to_le_bytes());
        load(&file).unwrap_err()
    };
    assert_eq!(dynamic(4, 1, 5), ElfError::DynamicallyLinked);
    for unsupported in [2, 18, 35] {
        assert!(matches!(dynamic(4, unsupported, 8), ElfError::Unsupported(_)));
    }
    assert!(matches!(dynamic(2, 9, 16), ElfError::Damaged(_)));
    assert!(matches!(dynamic(4, 11, 16), ElfError::Damaged(_)));
    assert!(matches!(dynamic(0, 7, u64::MAX), ElfError::Damaged(_)));
    assert!(matches!(
        dynamic(0, 7, IMAGE_LEN as u64 - 95),
        ElfError::Damaged(_)
    ));
    assert!(matches!(dynamic(1, 8, 95), ElfError::Damaged(_)));

    let relocation = |at: usize, value: u64| {
        let mut file = application();
        put(&mut file, RELOCATIONS + at, &value.to_le_bytes());
        load(&file)
    };
    assert_eq!(relocation(8, 37).unwrap_err(), ElfError::Relocation(37));
    assert_eq!(
        relocation(8, 8 | 1 << 32).unwrap_err(),
        ElfError::Relocation(8),
        "relative to a symbol"
    );
    assert!(matches!(
        relocation(0, IMAGE_LEN as u64 - 7),
        Err(ElfError::Damaged(_))
    ));
    assert!(relocation(0, IMAGE_LEN as u64 - 8).is_ok());
    assert!(matches!(relocation(0, u64::MAX), Err(ElfError::Damaged(_))));
    assert!(matches!(
        relocation(24 + 8, 0xffff_ffff << 32 | 6),
        Err(ElfError::Damaged(_))
    ));

    let mut strong = application();
    strong[SYMBOLS + 24 + 4] = 0x10;
    assert_eq!(load(&strong).unwrap_err(), ElfError::DynamicallyLinked);
}
