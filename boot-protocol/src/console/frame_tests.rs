//! Tests of the frames: bytes on the wire, and the decoder over every way to cut a stream in pieces.

use super::*;
use alloc::string::String;
use alloc::vec;

/// What a stream contained, with neighbouring text joined, so that it does not depend on how it was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(Vec<u8>),
    Frame(String),
}

#[derive(Default)]
struct Collector(Vec<Seen>);

impl Collector {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Text(text) => {
                assert!(!text.is_empty());
                if let Some(Seen::Text(last)) = self.0.last_mut() {
                    last.extend_from_slice(text);
                } else {
                    self.0.push(Seen::Text(text.to_vec()));
                }
            }
            Event::Frame(frame) => self.0.push(Seen::Frame(alloc::format!("{frame:?}"))),
        }
    }
}

fn decode(pieces: &[&[u8]]) -> (Vec<Seen>, Option<CutOff>) {
    let mut decoder = Decoder::new();
    let mut collector = Collector::default();
    for piece in pieces {
        decoder.feed(piece, |event| collector.take(event));
    }
    (collector.0, decoder.finish())
}

fn text(bytes: &[u8]) -> Seen {
    Seen::Text(bytes.to_vec())
}

fn frame(frame: Frame<'_>) -> Seen {
    Seen::Frame(alloc::format!("{frame:?}"))
}

const ALL: &[FrameKind] = &[
    FrameKind::Stdout,
    FrameKind::Stderr,
    FrameKind::Diagnostic,
    FrameKind::Read,
    FrameKind::Poll,
    FrameKind::Exit,
    FrameKind::Hello,
    FrameKind::Time,
    FrameKind::Window,
    FrameKind::StdoutWindow,
    FrameKind::StderrWindow,
    FrameKind::Sync,
    FrameKind::Unread,
    FrameKind::Share,
    FrameKind::Recording,
    FrameKind::RecordingWindow,
];

/// Every kind of frame, text before, between and after, and things that look like frames and are none.
fn mixed_stream() -> (Vec<u8>, Vec<Seen>) {
    let stream = [
        b"firmware\r\n".as_slice(),
        b"\xff\x07\x01\x00\x01",                                 // HELLO 1
        b"\xff\x01\x03\x00a\xffb",                               // STDOUT with a mark inside
        b"\xff\x01\x00\x00",                                     // STDOUT, empty
        b"text",                                                 //
        b"\xff\x02\x01\x00!",                                    // STDERR
        b"\xff\x03\x02\x00\xc3\xa4",                             // DIAGNOSTIC "ä"
        b"\xff\x04\x04\x00\xff\xff\0\0",                         // READ 65535
        b"\xff\x05\x00\x00",                                     // POLL
        b"\xff\x0ex",                                            // no such kind
        b"\xff\x09\x10\0\0\0\x20\0\0\0\0\0\0\0\x01\0\0\x80\0\0", // WINDOW
        b"\xff\x0a\x08\0\xff\0\0\0\0\x10\0\0",                   // STDOUT_WINDOW
        b"\xff\x0b\x08\0\0\0\0\0\xff\xff\xff\xff",               // STDERR_WINDOW, absurd
        b"\xff\x0c\0\0",                                         // SYNC
        b"\xff\x0a\x07\0",                                       // STDOUT_WINDOW has 8 bytes
        b"\xff\x0d\x04\0\x2a\0\0\0",                             // UNREAD 42
        b"\xff\x0e\x04\x00\x02\x01\x00\x00",                     // SHARE 258
        b"\xff\x0f\x02\0\0\xff",                                 // RECORDING
        b"\xff\x10\x08\0\x01\0\0\0\x02\0\0\0",                   // RECORDING_WINDOW
        b"\xff\xff\xff\x08\x00\x00",                             // two marks too many, TIME
        b"\xff\x08\x01\x00",                                     // TIME never has a payload
        b"\xff\x06\xff\x06\x01\x00\x2a",                         // half a header, EXIT 42
        b"bye",
    ]
    .concat();
    let seen = vec![
        text(b"firmware\r\n"),
        frame(Frame::Hello { version: 1 }),
        frame(Frame::Stdout(b"a\xffb")),
        frame(Frame::Stdout(b"")),
        text(b"text"),
        frame(Frame::Stderr(b"!")),
        frame(Frame::Diagnostic("ä".as_bytes())),
        frame(Frame::Read { max: 65535 }),
        frame(Frame::Poll),
        text(b"\xff\x0ex"),
        frame(Frame::Window(Window {
            address: 0x0020_0000,
            output: 0x0001_0000,
            input: 0x8000,
        })),
        frame(Frame::StdoutWindow(Span {
            offset: 255,
            length: 4096,
        })),
        frame(Frame::StderrWindow(Span {
            offset: 0,
            length: u32::MAX,
        })),
        frame(Frame::Sync),
        text(b"\xff\x0a\x07\0"),
        frame(Frame::Unread { count: 42 }),
        frame(Frame::Share { index: 258 }),
        frame(Frame::Recording(b"\0\xff")),
        frame(Frame::RecordingWindow(Span { offset: 1, length: 2 })),
        text(b"\xff\xff"),
        frame(Frame::Time),
        text(b"\xff\x08\x01\x00\xff\x06"),
        frame(Frame::Exit(Ending::old(42))),
        text(b"bye"),
    ];
    (stream, seen)
}

#[test]
fn headers_on_the_wire() {
    assert_eq!(header(FrameKind::Stdout, 0x1234), [0xff, 0x01, 0x34, 0x12]);
    assert_eq!(header(FrameKind::Exit, 1), [0xff, 0x06, 0x01, 0x00]);
    assert_eq!(header(FrameKind::Poll, 0), [0xff, 0x05, 0x00, 0x00]);
}

#[test]
fn kinds_and_bytes_are_inverse() {
    for kind in ALL {
        assert_eq!(FrameKind::from_byte(kind.byte()), Some(*kind));
    }
    let known = (0..=255u8).filter_map(FrameKind::from_byte).count();
    assert_eq!(known, ALL.len());
    assert_eq!(FrameKind::from_byte(MARK), None);
}

#[test]
fn payloads_of_a_wrong_length_are_refused() {
    for kind in ALL {
        for length in 0..=17usize {
            let payload = vec![1u8; length];
            let right = kind.takes(length);
            assert_eq!(
                Frame::parse(*kind, &payload).is_some(),
                right,
                "{kind:?} with {length} bytes"
            );
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn long_output_is_cut_into_frames() {
    let bytes: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut stream = Vec::new();
    for (header, payload) in chunks(FrameKind::Stdout, &bytes) {
        stream.extend(header);
        stream.extend(payload);
    }
    let mut together = Vec::new();
    let mut frames = 0;
    let mut decoder = Decoder::new();
    for piece in stream.chunks(4097) {
        decoder.feed(piece, |event| match event {
            Event::Frame(Frame::Stdout(bytes)) => {
                frames += 1;
                together.extend_from_slice(bytes);
            }
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(decoder.finish(), None);
    assert_eq!(frames, 4);
    assert!(together == bytes);
    assert_eq!(chunks(FrameKind::Stdout, b"").count(), 0);
}

#[test]
fn a_stream_in_one_piece() {
    let (stream, seen) = mixed_stream();
    assert_eq!(decode(&[&stream]), (seen, None));
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn a_stream_cut_anywhere_in_two_or_three() {
    let (stream, seen) = mixed_stream();
    for first in 0..=stream.len() {
        let (head, tail) = stream.split_at(first);
        for second in 0..=tail.len() {
            let (middle, end) = tail.split_at(second);
            assert_eq!(
                decode(&[head, middle, end]),
                (seen.clone(), None),
                "cut at {first}, {second}"
            );
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn a_stream_in_pieces_of_each_size() {
    let (stream, seen) = mixed_stream();
    for size in 1..=stream.len() {
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        assert_eq!(decode(&pieces), (seen.clone(), None), "pieces of {size}");
    }
}

/// All short streams over an alphabet of troublesome bytes, in every one of their 2^(n-1) cuts.
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn every_short_stream_in_every_cut() {
    const ALPHABET: &[u8] = &[0xff, 0x00, 0x01, 0x05, b'x'];
    const LENGTH: u32 = 6;
    for number in 0..ALPHABET.len().pow(LENGTH) {
        let mut rest = number;
        let stream: Vec<u8> = (0..LENGTH)
            .map(|_| {
                let byte = ALPHABET[rest % ALPHABET.len()];
                rest /= ALPHABET.len();
                byte
            })
            .collect();
        let whole = decode(&[&stream]);
        for cuts in 1..1u32 << (LENGTH - 1) {
            let mut pieces = Vec::new();
            let mut start = 0;
            for end in 1..stream.len() {
                if cuts >> (end - 1) & 1 == 1 {
                    pieces.push(&stream[start..end]);
                    start = end;
                }
            }
            pieces.push(&stream[start..]);
            assert_eq!(decode(&pieces), whole, "{stream:?} cut {cuts:b}");
        }
    }
}

/// Nothing is lost: text and frames, encoded again, are the stream.
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn every_short_stream_is_kept_whole() {
    let (stream, _) = mixed_stream();
    for end in 0..=stream.len() {
        let mut decoder = Decoder::new();
        let mut again = Vec::new();
        decoder.feed(&stream[..end], |event| match event {
            Event::Text(text) => again.extend_from_slice(text),
            Event::Frame(frame) => {
                let (kind, payload) = match frame {
                    Frame::Stdout(bytes) => (FrameKind::Stdout, bytes.to_vec()),
                    Frame::Stderr(bytes) => (FrameKind::Stderr, bytes.to_vec()),
                    Frame::Diagnostic(bytes) => (FrameKind::Diagnostic, bytes.to_vec()),
                    Frame::Read { max } => (FrameKind::Read, max.to_le_bytes().to_vec()),
                    Frame::Poll => (FrameKind::Poll, vec![]),
                    Frame::Exit(ending) => {
                        let (bytes, length) = ending.to_bytes();
                        (FrameKind::Exit, bytes[..length].to_vec())
                    }
                    Frame::Hello { version } => (FrameKind::Hello, vec![version]),
                    Frame::Time => (FrameKind::Time, vec![]),
                    Frame::Window(window) => (FrameKind::Window, window.to_bytes().to_vec()),
                    Frame::StdoutWindow(span) => (FrameKind::StdoutWindow, span.to_bytes().to_vec()),
                    Frame::StderrWindow(span) => (FrameKind::StderrWindow, span.to_bytes().to_vec()),
                    Frame::Sync => (FrameKind::Sync, vec![]),
                    Frame::Unread { count } => (FrameKind::Unread, count.to_le_bytes().to_vec()),
                    Frame::Share { index } => (FrameKind::Share, index.to_le_bytes().to_vec()),
                    Frame::Recording(bytes) => (FrameKind::Recording, bytes.to_vec()),
                    Frame::RecordingWindow(span) => (FrameKind::RecordingWindow, span.to_bytes().to_vec()),
                };
                again.extend(header(kind, u16::try_from(payload.len()).unwrap()));
                again.extend(payload);
            }
        });
        if let Some(cut) = decoder.finish() {
            if cut.missing > 0 {
                let total = cut.payload.len() + cut.missing;
                again.extend(header(cut.kind.unwrap(), u16::try_from(total).unwrap()));
                again.extend(cut.payload);
            } else {
                // An incomplete header: at most three bytes.
                let lost = end - again.len();
                assert!((1..FRAME_HEADER).contains(&lost), "{lost} bytes lost at {end}");
                again.extend_from_slice(&stream[end - lost..end]);
            }
        }
        assert_eq!(again, &stream[..end], "stream ended at {end}");
    }
}

#[test]
fn a_frame_cut_off_by_the_end() {
    assert_eq!(
        decode(&[b"\xff"]).1,
        Some(CutOff {
            kind: None,
            payload: vec![],
            missing: 0
        })
    );
    assert_eq!(
        decode(&[b"\xff\x01\x05"]).1,
        Some(CutOff {
            kind: Some(FrameKind::Stdout),
            payload: vec![],
            missing: 0
        })
    );
    assert_eq!(
        decode(&[b"\xff\x01\x05\x00"]).1,
        Some(CutOff {
            kind: Some(FrameKind::Stdout),
            payload: vec![],
            missing: 5
        })
    );
    assert_eq!(
        decode(&[b"\xff\x01\x05\x00PAN", b"I"]).1,
        Some(CutOff {
            kind: Some(FrameKind::Stdout),
            payload: b"PANI".to_vec(),
            missing: 1
        })
    );
}

#[test]
fn a_decoder_starts_anew_after_the_end() {
    let mut decoder = Decoder::new();
    decoder.feed(b"\xff\x01\x05\x00ab", |event| panic!("{event:?}"));
    assert!(decoder.finish().is_some());
    let mut collector = Collector::default();
    decoder.feed(b"cdef", |event| collector.take(event));
    assert_eq!(collector.0, [text(b"cdef")]);
}
