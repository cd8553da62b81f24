//! A small application file for tests, with one of everything that a linker makes.

use crate::ranges::Span;

/// How long the file is.
pub(super) const FILE_LEN: usize = 0x5c0;
/// How much memory it takes.
pub(super) const IMAGE_LEN: usize = 0x3700;

pub(super) const E_TYPE: usize = 16;
pub(super) const E_MACHINE: usize = 18;
pub(super) const E_ENTRY: usize = 24;
pub(super) const E_SHNUM: usize = 60;
pub(super) const NOTE: usize = 0x200;
pub(super) const SYMBOLS: usize = 0x240;
pub(super) const RELOCATIONS: usize = 0x290;
pub(super) const TEXT: Span = Span {
    start: 0x300,
    end: 0x400,
};
pub(super) const DYNAMIC: usize = 0x400;

/// Where segments lie in memory.
pub(super) const TEXT_AT: u64 = 0x1300;
pub(super) const RELRO_AT: u64 = 0x2400;
pub(super) const DATA_AT: u64 = 0x3500;

/// Index of each program header, and where its fields are.
pub(super) const PH_DATA: usize = 3;
pub(super) const PH_NOTE: usize = 5;
pub(super) const PH_TLS: usize = 6;
pub(super) const P_FLAGS: usize = 4;
pub(super) const P_OFFSET: usize = 8;
pub(super) const P_VADDR: usize = 16;
pub(super) const P_FILESZ: usize = 32;
pub(super) const P_MEMSZ: usize = 40;
pub(super) const P_ALIGN: usize = 48;

const R: u32 = 4;
const RX: u32 = 5;
const RW: u32 = 6;

/// Where a program header's field is in the file.
pub(super) fn program_header(index: usize, field: usize) -> usize {
    64 + 56 * index + field
}

/// Overwrites part of a file.
pub(super) fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A valid application.
pub(super) fn application() -> Vec<u8> {
    let mut file = vec![0; FILE_LEN];
    put(&mut file, 0, b"\x7fELF\x02\x01\x01\xff");
    for (at, value) in [
        (16, 3_u16),
        (18, 62),
        (52, 64),
        (54, 56),
        (56, 8),
        (58, 64),
        (60, 1),
    ] {
        put(&mut file, at, &value.to_le_bytes());
    }
    put(&mut file, 20, &1_u32.to_le_bytes());
    for (at, value) in [(24, TEXT_AT + 0x10), (32, 64), (40, 0x580)] {
        put(&mut file, at, &value.to_le_bytes());
    }

    // Type, flags, offset, address, size in the file, size in memory, alignment.
    let headers: [(u32, u32, [u64; 5]); 8] = [
        (1, R, [0, 0, 0x300, 0x300, 0x1000]),
        (1, RX, [0x300, TEXT_AT, 0x100, 0x100, 0x1000]),
        (1, RW, [0x400, RELRO_AT, 0x100, 0xc00, 0x1000]),
        (1, RW, [0x500, DATA_AT, 0x80, 0x200, 0x1000]),
        (2, RW, [0x400, RELRO_AT, 0x60, 0x60, 8]),
        (4, R, [0x200, 0x200, 0x18, 0x18, 4]),
        (7, R, [0x500, DATA_AT, 8, 24, 16]),
        (0x6474_e552, R, [0x400, RELRO_AT, 0x100, 0xc00, 1]),
    ];
    for (index, (kind, flags, [offset, address, file_size, memory_size, align])) in
        headers.into_iter().enumerate()
    {
        put(&mut file, program_header(index, 0), &kind.to_le_bytes());
        put(&mut file, program_header(index, P_FLAGS), &flags.to_le_bytes());
        for (field, value) in [
            (P_OFFSET, offset),
            (P_VADDR, address),
            (P_FILESZ, file_size),
            (P_MEMSZ, memory_size),
            (P_ALIGN, align),
        ] {
            put(&mut file, program_header(index, field), &value.to_le_bytes());
        }
    }

    put(&mut file, NOTE, b"\x07\0\0\0\x01\0\0\0\0\x5a\0\0HERMIT\0\0\x04");
    // Null, weak and undefined, defined.
    put(&mut file, SYMBOLS + 24, &[0, 0, 0, 0, 0x20]);
    put(&mut file, SYMBOLS + 48, &[0, 0, 0, 0, 0x10, 0, 1, 0]);
    put(&mut file, SYMBOLS + 56, &0x1340_u64.to_le_bytes());
    let relocations = [
        [DATA_AT, 8, 0x1310],
        [DATA_AT + 8, 2 << 32 | 6, 0],
        [DATA_AT + 16, 2 << 32 | 1, 4],
        [DATA_AT + 24, 1 << 32 | 6, 0],
    ];
    for (index, value) in relocations.as_flattened().iter().enumerate() {
        put(&mut file, RELOCATIONS + 8 * index, &value.to_le_bytes());
    }
    for (at, byte) in (TEXT.start..TEXT.end).zip((0_u8..=255).cycle()) {
        file[usize::try_from(at).unwrap()] = byte;
    }
    let dynamic: [[u64; 2]; 6] = [[7, 0x290], [8, 96], [9, 24], [6, 0x240], [11, 24], [0, 0]];
    for (index, value) in dynamic.as_flattened().iter().enumerate() {
        put(&mut file, DYNAMIC + 8 * index, &value.to_le_bytes());
    }
    file[0x520..0x580].fill(0xdd);
    file
}

/// The application with many relocations, and sections that tell them from what lies behind: everything behind them is
/// `MANY` bytes further on.
pub(super) fn with_many_relocations() -> Vec<u8> {
    let mut file = application();
    let end = RELOCATIONS + 4 * 24;
    for at in [E_ENTRY, 40] {
        shift(&mut file, at);
    }
    for index in 0..8 {
        for field in [P_OFFSET, P_VADDR] {
            let at = program_header(index, field);
            if word(&file, at) > end as u64 {
                shift(&mut file, at);
            }
        }
    }
    for field in [P_FILESZ, P_MEMSZ] {
        shift(&mut file, program_header(0, field));
    }
    for index in 0..4 {
        shift(&mut file, RELOCATIONS + 24 * index);
    }
    shift(&mut file, RELOCATIONS + 16);
    shift(&mut file, SYMBOLS + 56);
    // Its size, in the dynamic section.
    shift(&mut file, DYNAMIC + 24);
    let relocation = file[RELOCATIONS..RELOCATIONS + 24].to_vec();
    file.splice(end..end, relocation.repeat(MANY / 24));

    // Its section headers: for the note, the symbols, the relocations, the constants.
    let headers = file.len();
    put(&mut file, 40, &(headers as u64).to_le_bytes());
    put(&mut file, E_SHNUM, &[4, 0]);
    for (kind, at) in [(7_u32, NOTE), (11, SYMBOLS), (4, RELOCATIONS), (1, end + MANY)] {
        let mut header = [0; 64];
        put(&mut header, 4, &kind.to_le_bytes());
        put(&mut header, 8, &2_u64.to_le_bytes());
        put(&mut header, 16, &(at as u64).to_le_bytes());
        file.extend(header);
    }
    file
}

/// How much longer the relocations are there.
pub(super) const MANY: usize = 0x3000;

fn word(file: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
}

fn shift(file: &mut [u8], at: usize) {
    let value = word(file, at) + MANY as u64;
    put(file, at, &value.to_le_bytes());
}
