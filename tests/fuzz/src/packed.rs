//! Packed files: any bytes are one, or none, or are refused; what is put into a file that boots is what is found there.

use hermit_wasm_vm::Arch;
use hermit_wasm_vm::fuzzing::{executable_of, payload_of};
use hermit_wasm_vm::pack::{Format, Packed};

use crate::{file::with_file, heap};

/// Bytes of heap that a byte of a file may cost.
const HEAP_PER_BYTE: usize = 512;
/// What the smallest file takes: buffers.
const HEAP: usize = 1 << 20;

/// The first byte says what the others are: a file; the members of a payload; those behind a program; a file that boots;
/// or what to make one of.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, file)) => {
            open(file);
        }
        Some((1, members)) => {
            if let Some(packed) = open(&payload_of(members)) {
                assert_eq!((packed.format(), packed.memory()), (Format::Initrd, None));
            }
        }
        Some((2, script)) => executable(script),
        Some((3, file)) => bootable(file),
        Some((_, script)) => bootable(&assembled(script)),
        None => {}
    }
}

/// Opens a file as `hermit-wasm run`, `inspect` and `unpack` do, and shows it.
fn open(file: &[u8]) -> Option<Packed> {
    let (packed, heap) = with_file(file, |path| heap::most(|| Packed::open(&path)));
    assert!(
        heap <= HEAP + HEAP_PER_BYTE * file.len(),
        "{} bytes took {heap} of heap",
        file.len()
    );
    match packed {
        Ok(packed) => {
            let packed = packed?;
            assert!(packed.length() <= u64::try_from(file.len()).unwrap_or(u64::MAX));
            let _ = (packed.arch(), packed.engine());
            if let Ok(shown) = packed.inspect(Arch::host()) {
                // A terminal is shown it.
                let text = shown.text();
                assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
                assert!(!shown.json().is_empty());
            }
            Some(packed)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// An executable, in which no byte can be another.
fn executable(script: &[u8]) {
    let Some(([memory, low, high, change], members)) = script.split_first_chunk() else {
        return;
    };
    let memory = u64::from(*memory) << 24;
    let mut file = executable_of(&[0x7f; 4096], members, memory);
    if let Some(packed) = open(&file) {
        assert_eq!((packed.format(), packed.memory()), (Format::Exe, Some(memory)));
    }
    // In the payload or behind it.
    let place = 4096 + usize::from(u16::from_le_bytes([*low, *high])) % (file.len() - 4096);
    file[place] ^= change;
    let packed = open(&file);
    assert!(packed.is_none() || *change == 0, "byte {place} is another");
}

/// What is put into a file that boots.
const PAYLOAD: &[u8] = &[0x5a; 600];

/// Looks for a payload in a file, and puts one in.
fn bootable(file: &[u8]) {
    let length = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if let Some(found) = packed::find(file, length(file)) {
        assert!(packed::may_boot(file), "{found:?}");
        assert!(
            found.payload.start < found.payload.end && found.payload.end <= length(file),
            "{found:?}"
        );
    }
    for (kind, put) in [
        (
            packed::Kind::Application,
            packed::application as fn(&[u8], &[u8]) -> _,
        ),
        (packed::Kind::Image, packed::image),
    ] {
        let (made, heap) = heap::most(|| put(file, PAYLOAD));
        // Of an image that is flat, zeros become part of the file.
        assert!(heap <= (64 << 20) + 16 * file.len(), "{heap} bytes of heap");
        let Ok(made) = made else { continue };
        let found = packed::find(&made, length(&made)).expect("it was put there");
        let [start, end] = [found.payload.start, found.payload.end]
            .map(|place| usize::try_from(place).expect("it is in memory"));
        // A file may have slots of both kinds.
        assert!(found.kind == kind || slots(file) > 1, "{found:?}");
        assert!(
            made.get(start..end) == Some(PAYLOAD) || slots(file) > 1,
            "{found:?}"
        );
    }
}

/// How a slot begins, and how many bytes it has.
const SLOT: &[u8] = b"\xf1hermit payload";
const SLOT_SIZE: usize = 32;

fn slots(file: &[u8]) -> usize {
    file.windows(SLOT.len()).filter(|bytes| *bytes == SLOT).count()
}

/// An ELF file, or a flat image with one inside, of which the script says the segments.
fn assembled(script: &[u8]) -> Vec<u8> {
    let Some(([kind, address], rest)) = script.split_first_chunk() else {
        return Vec::new();
    };
    let slot = |last: u8| [SLOT, &[last], &[0; SLOT_SIZE - SLOT.len() - 1]].concat();
    let base = u64::from(*address) << 12;
    match kind % 4 {
        0 => elf(rest, base, &slot(0xd2)),
        1 => {
            let inner = elf(rest, 0x20_0000, &slot(0xd2));
            let mut content = slot(0xd1);
            content.resize(0x1000, 2);
            content.extend(inner);
            elf(rest, base, &content)
        }
        2 => {
            let mut file = vec![0; 64];
            file[16..24].copy_from_slice(&base.to_le_bytes());
            file[56..60].copy_from_slice(b"ARM\x64");
            file.extend(slot(0xd1));
            file.resize(0x1000, 0);
            file.extend(elf(rest, 0x20_0000, &slot(0xd2)));
            file
        }
        _ => elf(rest, base, &[slot(0xd1), slot(0xd2)].concat()),
    }
}

/// An ELF file for x86-64 with `content` at 0x1000, loaded as a whole at `base` and in further segments of the script:
/// kind, place in the file, address, and both sizes, in pieces of 64 bytes.
fn elf(script: &[u8], base: u64, content: &[u8]) -> Vec<u8> {
    let length = u64::try_from(0x1000 + content.len()).unwrap_or(0);
    let mut segments = vec![(1, [0, base, length, length])];
    for segment in script.chunks_exact(5).take(8) {
        let &[kind, offset, address, file, memory] = segment else {
            continue;
        };
        let [offset, address, file, memory] =
            [offset, address, file, memory].map(|value| u64::from(value) * 64);
        segments.push((u32::from(kind), [offset, base + address * 16, file, memory]));
    }
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(18, 0);
    elf.resize(19, 62);
    elf.resize(32, 0);
    elf.extend(64_u64.to_le_bytes());
    elf.extend(length.to_le_bytes());
    elf.resize(54, 0);
    let count = u16::try_from(segments.len()).unwrap_or(0);
    elf.extend([56, count, 64, 2, 1].into_iter().flat_map(u16::to_le_bytes));
    for (kind, [offset, address, file, memory]) in segments {
        elf.extend([kind, 4].into_iter().flat_map(u32::to_le_bytes));
        let numbers = [offset, address, address, file, memory, 0x1000];
        elf.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
    }
    elf.resize(0x1000, 0);
    elf.extend(content);
    elf.extend([0x77; 128]);
    elf
}
