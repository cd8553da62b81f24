use std::io::{Seek as _, SeekFrom, Write as _};

use boot_protocol::arch::Arch;
use boot_protocol::run_spec::RunSpec;

use super::*;
use crate::spec::engine::Engine;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn header(digest: [u8; header::DIGEST]) -> Header {
    Header {
        program: "1".to_string(),
        image: image::of(Arch::X86_64, Engine::Interp).map_or(7, |image| image.fingerprint),
        arch: Arch::X86_64,
        engine: Engine::Interp,
        level: None,
        memory: 1 << 28,
        modules: vec![Recorded {
            digest,
            name: String::new(),
            path: "/a/m.wasm".into(),
        }],
        spec: RunSpec::default(),
    }
}

/// A recording of these pieces of events, in a file.
fn recorded(pieces: &[&[u8]], end: Option<(u8, &str)>) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let digest = *blake3::hash(MODULE).as_bytes();
    let tape = Tape::begin(file.as_file(), &header(digest)).unwrap();
    for piece in pieces {
        tape.events(piece).unwrap();
    }
    if let Some((code, how)) = end {
        let how = how.to_string();
        tape.end(&RecordedEnd { code, how }).unwrap();
    }
    file
}

fn open(file: &tempfile::NamedTempFile) -> Result<Recording, Error> {
    Recording::open(file.path(), &Deadline::never())
}

fn events(recording: &Recording) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(recording.write_to(&mut out, &Deadline::never()).is_ok());
    out
}

#[test]
fn what_is_recorded_is_read_back() {
    let recording = open(&recorded(&[b"abc", b"", b"d"], Some((124, "timeout")))).unwrap();
    assert_eq!(events(&recording), b"abcd");
    assert_eq!(recording.length(), 4);
    assert_eq!(recording.module_path(), Some(Path::new("/a/m.wasm")));
    let end = recording.end().unwrap();
    assert_eq!((end.code, end.how.as_str()), (124, "timeout"));
    assert_eq!(*recording.header(), header(*blake3::hash(MODULE).as_bytes()));
}

#[test]
fn a_file_that_is_cut_short_is_read_as_far_as_it_reaches() {
    let file = recorded(&[b"abc", b"defg"], Some((0, "exit")));
    let whole = std::fs::read(file.path()).unwrap();
    let mut seen = Vec::new();
    for length in (0..whole.len()).rev() {
        file.as_file().set_len(u64::try_from(length).unwrap()).unwrap();
        match open(&file) {
            Ok(recording) => {
                assert_eq!(recording.end(), None);
                seen.push(events(&recording));
            }
            Err(Error::Recording(RecordingError::Refused { .. })) => seen.push(b"refused".to_vec()),
            Err(error) => panic!("{error}"),
        }
    }
    seen.dedup();
    assert_eq!(seen, [&b"abcdefg"[..], b"abc", b"", b"refused"]);
}

#[test]
fn a_file_that_was_changed_is_refused() {
    let file = recorded(&[b"abc", b"defg"], Some((0, "exit")));
    let whole = std::fs::read(file.path()).unwrap();
    for (place, bit) in (0..whole.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
        let mut target = file.as_file();
        target
            .seek(SeekFrom::Start(u64::try_from(place).unwrap()))
            .unwrap();
        target.write_all(&[whole[place] ^ (1 << bit)]).unwrap();
        match open(&file) {
            Err(Error::Recording(RecordingError::Refused { .. })) => {}
            // A length that reaches beyond the file looks like a file that was cut short.
            Ok(recording) => assert!(recording.end().is_none(), "byte {place}"),
            Err(error) => panic!("byte {place}: {error}"),
        }
        target
            .seek(SeekFrom::Start(u64::try_from(place).unwrap()))
            .unwrap();
        target.write_all(&whole[place..=place]).unwrap();
    }
    assert!(open(&file).is_ok());
}

#[test]
fn what_is_behind_the_end_is_refused() {
    let file = recorded(&[b"abc"], None);
    let tape = Tape::begin(file.as_file(), &header([1; header::DIGEST])).unwrap();
    let end = RecordedEnd {
        code: 0,
        how: "exit".to_string(),
    };
    tape.end(&end).unwrap();
    tape.events(b"more").unwrap();
    let error = open(&file).unwrap_err();
    assert!(error.to_string().contains("behind its end"), "{error}");
}

#[test]
fn another_module_is_refused() {
    let file = recorded(&[], None);
    let same = Module::from_bytes("m.wasm", MODULE).unwrap();
    assert!(open(&file).unwrap().run(vec![same], &Deadline::never()).is_ok());
    // With a custom section.
    let other = Module::from_bytes("m.wasm", [MODULE, &[0, 2, 1, b'x']].concat()).unwrap();
    let error = open(&file)
        .unwrap()
        .run(vec![other], &Deadline::never())
        .unwrap_err();
    assert_eq!(error.exit_code(), boot_protocol::exit_code::MODULE_REFUSED);
    assert!(
        error
            .to_string()
            .contains("is not what was recorded as the program"),
        "{error}"
    );
}

#[test]
fn another_image_is_refused_unless_it_is_allowed() {
    // Whoever builds no images has none to compare with.
    let Ok(own) = image::of(Arch::X86_64, Engine::Interp) else {
        return;
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let other = Header {
        image: own.fingerprint ^ 1,
        ..header(*blake3::hash(MODULE).as_bytes())
    };
    Tape::begin(file.as_file(), &other).unwrap();
    let module = || vec![Module::from_bytes("m.wasm", MODULE).unwrap()];
    let error = open(&file)
        .unwrap()
        .run(module(), &Deadline::never())
        .unwrap_err();
    assert_eq!(error.exit_code(), boot_protocol::exit_code::MODULE_REFUSED);
    assert!(
        error.to_string().contains("another interp image for x86_64"),
        "{error}"
    );
    let allowed = open(&file).unwrap().allow_other_image(true);
    assert!(allowed.run(module(), &Deadline::never()).is_ok());
}

#[test]
fn a_header_is_every_field_once() {
    let whole = header([2; header::DIGEST]).encode();
    assert_eq!(Header::decode(&whole), Ok(header([2; header::DIGEST])));
    for length in 0..whole.len() {
        assert!(Header::decode(&whole[..length]).is_err(), "{length} bytes");
    }
    assert!(Header::decode(&[&whole[..], &whole].concat()).is_err());
    assert!(Header::decode(&[&whole[..], &[9, 0, 0, 0, 0]].concat()).is_err());
}

#[test]
fn a_replay_wants_a_hypervisor_that_carries_the_recording() {
    use crate::vmm::capabilities::{Feature, demands, refuse};
    use crate::vmm::qemu::Qemu;
    use crate::vmm::uhyve::Uhyve;
    let recording = open(&recorded(&[b"abc"], None)).unwrap();
    let module = Module::from_bytes("m.wasm", MODULE).unwrap();
    let demands = demands(&Run::replaying(recording, vec![module]).unwrap());
    assert!(demands.contains(&Feature::Replay));
    assert!(refuse(&Qemu::default(), &demands, &[]).is_ok());
    let refused = refuse(&Uhyve::default(), &demands, &[]).unwrap_err();
    assert_eq!(refused.feature, Feature::Replay);
    assert!(
        refused
            .to_string()
            .contains("cannot hand the machine a recording"),
        "{refused}"
    );
}
