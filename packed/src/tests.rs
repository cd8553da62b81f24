//! Files of a few bytes, made by hand; `tests/vm` boots real ones.

use boot_protocol::arch::Arch;
use payload_slot::Slot;

use crate::elf::{Elf, LOAD, number};
use crate::{Kind, PAGE, PackError, application, find, image, may_boot};

const BASE: u64 = 0x20_0000;

/// A program header.
fn header(kind: u32, [offset, address, file, memory]: [u64; 4]) -> Vec<u8> {
    let numbers = [offset, address, address, file, memory, 0x1000];
    let kinds = [kind, 4].into_iter().flat_map(u32::to_le_bytes);
    kinds
        .chain(numbers.into_iter().flat_map(u64::to_le_bytes))
        .collect()
}

/// An ELF file with these segments, and two section headers at its end; `content` begins at 0x1000.
fn elf(segments: &[Vec<u8>], content: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(18, 0);
    // A machine of x86-64.
    file.resize(19, 62);
    file.resize(32, 0);
    file.extend(64_u64.to_le_bytes());
    file.extend((0x1000 + content.len() as u64).to_le_bytes());
    file.resize(54, 0);
    let halves = [56, u16::try_from(segments.len()).unwrap(), 64, 2, 1];
    file.extend(halves.into_iter().flat_map(u16::to_le_bytes));
    file.extend(segments.concat());
    file.resize(0x1000, 0);
    file.extend(content);
    file.extend([0x77; 128]);
    file
}

fn slot(name: [u8; 16]) -> Vec<u8> {
    Slot::empty(name).to_bytes().to_vec()
}

/// An application whose memory ends at 0x3800.
fn an_application() -> Vec<u8> {
    let content = [slot(Slot::APPLICATION), vec![1; 0x20]].concat();
    let segments = [
        header(LOAD, [0x1000, 0, 0x40, 0x40]),
        header(LOAD, [0x1040, 0x3000, 0, 0x800]),
        header(0x6474_e551, [0; 4]),
    ];
    elf(&segments, &content)
}

/// An application as it lies within an image, of which the memory ends at BASE + 0x2100.
fn prelinked() -> Vec<u8> {
    let segments = [
        header(LOAD, [0, BASE, 0x1040, 0x1040]),
        header(LOAD, [0x1040, BASE + 0x2040, 0, 0xc0]),
    ];
    elf(&segments, &slot(Slot::APPLICATION))
}

/// The payload that is found in a file, and what kind of file that is.
fn found(file: &[u8]) -> Option<(Kind, &[u8])> {
    let found = find(file, file.len() as u64)?;
    assert!(may_boot(file));
    let place = |place| usize::try_from(place).unwrap();
    Some((
        found.kind,
        &file[place(found.payload.start)..place(found.payload.end)],
    ))
}

/// A loader with an application, which lies at 0x2000 in the file.
fn an_image() -> Vec<u8> {
    let inner = prelinked();
    let content = [slot(Slot::LOADER), vec![2; 0x1000 - Slot::SIZE], inner.clone()].concat();
    let len = inner.len() as u64;
    let segments = [
        header(LOAD, [0x1000, 0x10_0000, 0x1000, 0x1000]),
        header(LOAD, [0x2000, BASE, len, len]),
    ];
    elf(&segments, &content)
}

/// The same as a flat file, from BASE - 0x1000 on.
fn a_flat_image() -> Vec<u8> {
    let mut file = vec![0; 64];
    file[16..24].copy_from_slice(&0x9_0000_u64.to_le_bytes());
    file[56..60].copy_from_slice(b"ARM\x64");
    file.extend(slot(Slot::LOADER));
    file.resize(0x1000, 0);
    file.extend(prelinked());
    file
}

/// What a loader puts at this address, `len` bytes.
fn loaded(file: &[u8], address: u64, len: usize) -> &[u8] {
    let at = Elf::new(file).unwrap().offset_of(address, len as u64).unwrap();
    let at = usize::try_from(at).unwrap();
    &file[at..at + len]
}

/// Whether the section headers end the file.
fn has_sections_at_end(file: &[u8]) -> bool {
    number(file, 40) == Some(file.len() as u64 - 128) && file.ends_with(&[0x77; 128])
}

#[test]
fn an_application_gets_one_more_segment() {
    let old = an_application();
    let new = application(&old, b"payload").unwrap();
    let elf = Elf::new(&new).unwrap();
    let segments = elf.segments().unwrap();
    assert_eq!(segments.len(), 3);
    assert_eq!((segments[2].kind, segments[2].address), (LOAD, 0x4000));
    assert_eq!(segments[2].offset % PAGE as u64, 0);
    assert_eq!(loaded(&new, 0x4000, 7), b"payload");
    assert_eq!(elf.end(), Ok(0x4007));
    let slot = Slot::read(Slot::APPLICATION, loaded(&new, 0, Slot::SIZE)).unwrap();
    assert_eq!(slot.payload(), Some((0x4000, 7)));
    assert!(has_sections_at_end(&new));
    // What lies elsewhere is as it was.
    assert_eq!(new[0x1020..0x1040], old[0x1020..0x1040]);
    assert_eq!(found(&new), Some((Kind::Application, &b"payload"[..])));
    // Its beginning is enough to find it.
    let all = find(&new, new.len() as u64).unwrap();
    assert_eq!(all.arch, Arch::X86_64);
    assert_eq!(find(&new[..0x2000], new.len() as u64), Some(all.clone()));
    assert_eq!(find(&new, all.payload.end - 1), None);
}

#[test]
fn an_image_has_its_payload_behind_the_application_s_memory() {
    let new = image(&an_image(), b"payload").unwrap();
    let segments = Elf::new(&new).unwrap().segments().unwrap();
    assert_eq!((segments.len(), segments[2].address), (3, BASE + 0x3000));
    assert_eq!(loaded(&new, BASE + 0x3000, 7), b"payload");
    let slot = Slot::read(Slot::LOADER, loaded(&new, 0x10_0000, Slot::SIZE)).unwrap();
    assert_eq!(slot.payload(), Some((BASE + 0x3000 - 0x10_0000, 7)));
    assert!(has_sections_at_end(&new));
    assert_eq!(found(&new), Some((Kind::Image, &b"payload"[..])));
}

#[test]
fn a_flat_image_is_what_is_in_memory() {
    let new = image(&a_flat_image(), b"payload").unwrap();
    // The application at 0x1000, whose memory takes 0x3000.
    assert_eq!(new[0x4000..0x4007], *b"payload");
    assert_eq!(new.len(), 0x5000);
    assert_eq!(
        number(&new, 16),
        Some(0x9_0000),
        "it was said to be larger already"
    );
    let large = image(&a_flat_image(), &vec![9; 0x10_0000]).unwrap();
    assert_eq!(number(&large, 16), Some(large.len() as u64));
    let slot = Slot::read(Slot::LOADER, &new[64..]).unwrap();
    assert_eq!(slot.payload(), Some((0x4000 - 64, 7)));
    assert_eq!(found(&new), Some((Kind::Image, &b"payload"[..])));
    let found = find(&new, new.len() as u64).unwrap();
    assert_eq!((found.arch, found.payload), (Arch::Aarch64, 0x4000..0x4007));
}

#[test]
fn a_payload_that_looks_like_a_slot_or_a_file_is_a_payload() {
    let payloads = [
        Slot::filled(Slot::APPLICATION, 1, 1).to_bytes().to_vec(),
        Slot::filled(Slot::LOADER, 1, 1).to_bytes().to_vec(),
        an_image(),
        image(&an_image(), b"within").unwrap(),
    ];
    for payload in payloads {
        for new in [
            application(&an_application(), &payload).unwrap(),
            image(&an_image(), &payload).unwrap(),
        ] {
            let (kind, bytes) = found(&new).unwrap();
            assert!(bytes == payload, "{kind:?}");
        }
    }
}

#[test]
fn one_payload_and_not_an_empty_one() {
    for (pack, file) in [
        (
            application as fn(&[u8], &[u8]) -> Result<Vec<u8>, PackError>,
            an_application(),
        ),
        (image, an_image()),
        (image, a_flat_image()),
    ] {
        assert_eq!(found(&file), None);
        assert_eq!(pack(&file, b""), Err(PackError::EmptyPayload));
        let new = pack(&file, b"payload").unwrap();
        assert_eq!(pack(&new, b"another"), Err(PackError::Taken));
    }
}

#[test]
fn other_files_are_refused() {
    assert_eq!(application(b"", b"x"), Err(PackError::NotElf));
    assert_eq!(application(&an_image()[..80], b"x"), Err(PackError::NoSlot));
    assert_eq!(image(&an_application(), b"x"), Err(PackError::NoSlot));
    let without = elf(&[header(LOAD, [0x1000, 0, 0x20, 0x20])], &slot(Slot::LOADER));
    assert_eq!(image(&without, b"x"), Err(PackError::NoApplication));
    let no_header = elf(&[header(LOAD, [0x1000, 0, 0x20, 0x20])], &slot(Slot::APPLICATION));
    assert_eq!(application(&no_header, b"x"), Err(PackError::NoRoom));
}

/// No file panics, however damaged, and what is found is in it.
#[test]
fn damage_does_no_harm() {
    let files = [
        application(&an_application(), b"payload").unwrap(),
        image(&an_image(), b"payload").unwrap(),
        image(&a_flat_image(), b"payload").unwrap(),
        an_application(),
        an_image(),
        a_flat_image(),
    ];
    for file in files {
        // Headers, slots, the end.
        let begins = [0, 0x1000, 0x2000, 0x3000, file.len().saturating_sub(0x100)];
        let places = begins.into_iter().flat_map(|start| start..start + 0x80);
        for at in places.filter(|at| *at < file.len()) {
            for value in [0, 0xff] {
                let mut bad = file.clone();
                bad[at] = value;
                let _ = found(&bad);
                let _ = application(&bad, b"x");
                let _ = image(&bad, b"x");
            }
        }
        for len in [0, 1, 31, 32, 63, 64, 100, 0x1000, file.len() - 1] {
            let _ = found(&file[..len.min(file.len())]);
        }
    }
}
