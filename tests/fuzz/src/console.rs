//! The console protocol: nothing of a stream is lost or invented, however it is cut; both readers survive anything.

use boot_protocol::console::{
    Answer, AnswerParser, Decoder, Event, FRAME_HEADER, Frame, FrameKind, MARK, Reply, chunks, header,
};

/// The first byte says which direction, the second how the rest is cut up.
pub fn run(data: &[u8]) {
    let Some(([direction, cut], stream)) = data.split_first_chunk() else {
        return;
    };
    let cut = usize::from(*cut) + 1;
    match direction % 4 {
        0 => frames(stream, cut),
        1 => answers(stream, cut),
        2 => replies(stream, cut),
        _ => output(stream, cut),
    }
}

/// A frame as it was on the wire.
fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let (kind, payload) = match *frame {
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
    let length = u16::try_from(payload.len()).expect("a payload's length is a u16");
    [&header(kind, length)[..], &payload].concat()
}

/// What a decoder sees in the pieces: one run of text is one entry; frames are encoded again.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<(bool, Vec<u8>)>, Vec<u8>) {
    let mut decoder = Decoder::new();
    let mut events: Vec<(bool, Vec<u8>)> = Vec::new();
    for piece in pieces {
        decoder.feed(piece, |event| match (event, events.last_mut()) {
            (Event::Text(text), Some((false, last))) => last.extend_from_slice(text),
            (Event::Text(text), _) => events.push((false, text.to_vec())),
            (Event::Frame(frame), _) => events.push((true, encode(&frame))),
        });
    }
    let mut rest = Vec::new();
    if let Some(cut_off) = decoder.finish() {
        rest.push(MARK);
        rest.extend(cut_off.kind.map(FrameKind::byte));
        if cut_off.missing > 0 || !cut_off.payload.is_empty() {
            let length = cut_off.missing + cut_off.payload.len();
            rest.extend(
                u16::try_from(length)
                    .expect("a payload's length is a u16")
                    .to_le_bytes(),
            );
            rest.extend(cut_off.payload);
        }
    }
    assert!(decoder.finish().is_none(), "it starts anew");
    (events, rest)
}

/// Text and frames, put together again, are the stream.
fn frames(stream: &[u8], cut: usize) {
    let (whole, rest) = decode([stream].into_iter());
    assert_eq!(
        (&whole, &rest),
        (&decode(stream.chunks(cut)).0, &decode(stream.chunks(cut)).1)
    );
    let mut again: Vec<u8> = whole.into_iter().flat_map(|(_, bytes)| bytes).collect();
    again.extend(&rest);
    // Of a header that was cut off, the third byte is not told.
    assert!(
        stream.starts_with(&again) && stream.len() - again.len() <= 1,
        "{stream:?} {again:?}"
    );
    if stream.len() > again.len() {
        assert!(rest.len() == 2 && rest.len() < FRAME_HEADER);
    }
}

/// What the guest writes arrives, though firmware prints before it.
fn output(bytes: &[u8], cut: usize) {
    let mut stream = b"firmware\xff\xc3 and so on\r\n".to_vec();
    for (header, payload) in chunks(FrameKind::Stderr, bytes) {
        stream.extend(header);
        stream.extend(payload);
    }
    let (events, rest) = decode(stream.chunks(cut));
    assert!(rest.is_empty());
    let frames = events.iter().filter(|(is_frame, _)| *is_frame);
    let arrived: Vec<u8> = frames
        .flat_map(|(_, frame)| frame[FRAME_HEADER..].to_vec())
        .collect();
    assert_eq!(arrived, bytes);
}

/// The guest's reader on any bytes: it takes what it wanted, stays within its buffer, and cuts make no difference.
fn answers(stream: &[u8], cut: usize) {
    let read = |cut: usize| {
        let mut parser = AnswerParser::new();
        let mut seen = Vec::new();
        let mut buffer = [0; 600];
        let (data, guard) = buffer.split_at_mut(512);
        for piece in stream.chunks(cut) {
            let mut rest = piece;
            while !rest.is_empty() {
                let wanted = parser.wanted();
                assert!(wanted > 0);
                let progress = match parser.feed(rest, data) {
                    Ok(progress) => progress,
                    Err(error) => return (seen, Some(error)),
                };
                assert!(progress.used > 0 && progress.used <= rest.len());
                assert!(progress.answer.is_some() || progress.used == rest.len());
                assert!(progress.answer.is_none() || progress.used >= wanted);
                if let Some(answer) = progress.answer {
                    let bytes = match answer {
                        Answer::Data { length } => data[..length].to_vec(),
                        _ => vec![],
                    };
                    seen.push((answer, bytes));
                }
                rest = &rest[progress.used..];
            }
        }
        assert!(guard.iter().all(|byte| *byte == 0));
        (seen, None)
    };
    assert_eq!(read(cut), read(stream.len().max(1)));
}

/// What the host answers is what the guest reads.
fn replies(script: &[u8], cut: usize) {
    let mut line = Vec::new();
    let mut sent = Vec::new();
    let mut rest = script;
    while let Some(([kind, a, b, c, d], tail)) = rest.split_first_chunk() {
        let number = u32::from_le_bytes([*a, *b, *c, *d]);
        rest = tail;
        let (reply, answer, bytes) = match kind % 5 {
            0 => {
                let length = usize::from(*a).min(rest.len());
                let (bytes, tail) = rest.split_at(length);
                rest = tail;
                (Reply::Data(bytes), Answer::Data { length }, bytes)
            }
            1 => {
                let (eof, available) = (*a & 1 != 0, number);
                (
                    Reply::Ready { eof, available },
                    Answer::Ready { eof, available },
                    &[][..],
                )
            }
            2 => (
                Reply::Time(u64::from(number) << 20),
                Answer::Time(u64::from(number) << 20),
                &[][..],
            ),
            3 => (
                Reply::DataWindow(number),
                Answer::DataWindow { length: number },
                &[][..],
            ),
            _ => (Reply::Synced, Answer::Synced, &[][..]),
        };
        reply.append_to(&mut line);
        sent.push((answer, bytes));
    }
    let mut parser = AnswerParser::new();
    let mut buffer = [0; 255];
    let mut sent = sent.into_iter();
    for piece in line.chunks(cut) {
        let mut rest = piece;
        while !rest.is_empty() {
            let progress = parser
                .feed(rest, &mut buffer)
                .expect("what the host sends is understood");
            if let Some(answer) = progress.answer {
                let (expected, bytes) = sent.next().expect("no answer is invented");
                assert_eq!(answer, expected);
                assert_eq!(&buffer[..bytes.len()], bytes);
            }
            rest = &rest[progress.used..];
        }
    }
    assert!(sent.next().is_none(), "no answer is lost");
}
