//! The loader on any application file: an image or an error; loading stays within the image, wherever it goes and
//! whichever way it takes.

use hermit_loader_core::elf::{Image, Source, Target, cut, dispensable, memory_size, prelink};

/// Images larger than this are only parsed.
const MOST: u64 = 1 << 20;

/// What lies around the memory that may be written.
const GUARD: usize = 64;

/// The first eight bytes are where the image goes, the rest is the file.
pub fn run(data: &[u8]) {
    let Some((base, file)) = data.split_first_chunk() else {
        return;
    };
    let base = u64::from_le_bytes(*base);
    let target = Target::X86_64;
    let image = match Image::parse(file, target) {
        Ok(image) => image,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(image.entry < image.size);
    let mut end = 0;
    for segment in image.segments() {
        assert!(segment.memory.start >= end && segment.memory.end <= image.size);
        assert!(segment.file.end <= file.len() as u64 && segment.file.len() <= segment.memory.len());
        end = segment.memory.end;
    }
    if image.size > MOST {
        return;
    }
    let size = usize::try_from(image.size).expect("at most MOST");
    assert_eq!(memory_size(file, target), Ok(size));

    let mut room = vec![0xa5; size + 2 * GUARD];
    let memory = &mut room[GUARD..GUARD + size];
    image.load(memory, Source::File(file)).expect("it was checked");
    for segment in image.segments() {
        let [start, end] =
            [segment.memory.start, segment.memory.end].map(|at| usize::try_from(at).expect("within"));
        let len = usize::try_from(segment.file.len()).expect("within");
        let from = usize::try_from(segment.file.start).expect("within");
        assert_eq!(memory[start..start + len], file[from..from + len]);
        assert!(memory[start + len..end].iter().all(|byte| *byte == 0));
    }
    let relocated = image.relocate(memory, base);
    let loaded = memory.to_vec();
    assert!(
        room[..GUARD]
            .iter()
            .chain(&room[GUARD + size..])
            .all(|byte| *byte == 0xa5)
    );

    // The build script's way: laid out beforehand, it is again an application, which comes to the same where it is.
    let mut laid_out = vec![0xa5; size];
    let Ok(len) = prelink(file, &mut laid_out, target, base) else {
        return;
    };
    assert!(relocated.is_ok());
    let Ok(again) = Image::parse(&laid_out[..len], target) else {
        // Relocations may have overwritten what makes it an application: headers, the note.
        return;
    };
    if again.fixed != Some(base) || again.size != image.size || !again.loads_in_place() {
        return;
    }
    let mut memory = vec![0; size];
    again
        .load(&mut memory, Source::File(&laid_out[..len]))
        .expect("it was checked");
    // Headers differ; what lies behind them does not.
    let headers = usize::from(u16::from_le_bytes([file[56], file[57]])) * 56;
    let start =
        usize::try_from(u64::from_le_bytes(file[32..40].try_into().expect("8 bytes"))).expect("within");
    for segment in again.segments().iter().skip(1) {
        let [from, to] =
            [segment.memory.start, segment.memory.end].map(|at| usize::try_from(at).expect("within"));
        if from >= start + headers {
            assert_eq!(memory[from..to], loaded[from..to]);
        }
    }

    // Cut short, it begins later, and the rest of it is the same.
    let at = dispensable(file, target).expect("it was checked");
    if at == 0 || cut(&mut laid_out[..len], at).is_err() {
        return;
    }
    let Ok(short) = Image::parse(&laid_out[at..len], target) else {
        return;
    };
    for (segment, whole) in short.segments().iter().zip(again.segments()).skip(1) {
        assert_eq!(segment.memory.end + at as u64, whole.memory.end);
        let start = usize::try_from(whole.memory.start).expect("within");
        if start >= at + headers + 64 {
            let bytes = usize::try_from(whole.file.len()).expect("within");
            assert_eq!(laid_out[start..start + bytes], memory[start..start + bytes]);
        }
    }
}
