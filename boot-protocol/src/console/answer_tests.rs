//! Tests of answers, however they are cut up.

use super::*;
use alloc::vec;

fn encode(answers: &[Reply<'_>]) -> Vec<u8> {
    let mut line = Vec::new();
    for answer in answers {
        answer.append_to(&mut line);
    }
    line
}

/// Reads all of `pieces`; data is collected with its answer.
fn parse(pieces: &[&[u8]], space: usize) -> Result<Vec<(Answer, Vec<u8>)>, AnswerError> {
    let mut parser = AnswerParser::new();
    let mut buffer = vec![0xEE; space];
    let mut seen = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let progress = parser.feed(rest, &mut buffer)?;
            assert!(progress.used > 0);
            rest = &rest[progress.used..];
            if let Some(answer) = progress.answer {
                let data = match answer {
                    Answer::Data { length } => buffer[..length].to_vec(),
                    _ => vec![],
                };
                seen.push((answer, data));
                buffer.fill(0xEE);
            }
        }
    }
    Ok(seen)
}

#[test]
fn answers_on_the_wire() {
    assert_eq!(encode(&[Reply::Data(b"hi")]), b"\x81\x02\x00hi");
    assert_eq!(encode(&[Reply::Data(b"")]), b"\x81\x00\x00");
    assert_eq!(
        encode(&[Reply::Ready {
            eof: true,
            available: 0x0403_0201
        }]),
        b"\x82\x05\x00\x01\x01\x02\x03\x04"
    );
    assert_eq!(
        encode(&[Reply::Ready {
            eof: false,
            available: 1
        }]),
        b"\x82\x05\x00\x00\x01\x00\x00\x00"
    );
    assert_eq!(
        encode(&[Reply::Time(0x0807_0605_0403_0201)]),
        b"\x83\x08\x00\x01\x02\x03\x04\x05\x06\x07\x08"
    );
    assert_eq!(
        encode(&[Reply::DataWindow(0x0403_0201)]),
        b"\x84\x04\x00\x01\x02\x03\x04"
    );
    assert_eq!(encode(&[Reply::Synced]), b"\x85\x00\x00");
    assert_eq!(encode(&[Reply::Share(true)]), b"\x86\x01\x00\x01");
    assert_eq!(encode(&[Reply::Share(false)]), b"\x86\x01\x00\x00");
}

#[test]
fn data_longer_than_a_header_can_say_is_cut() {
    let line = encode(&[Reply::Data(&vec![7; MAX_PAYLOAD + 5])]);
    assert_eq!(line.len(), ANSWER_HEADER + MAX_PAYLOAD);
    let seen = parse(&[&line], MAX_PAYLOAD).unwrap();
    assert_eq!(
        seen,
        [(Answer::Data { length: MAX_PAYLOAD }, vec![7; MAX_PAYLOAD])]
    );
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn answers_in_every_cut() {
    let line = encode(&[
        Reply::Data(b"\x81\x82\xff"),
        Reply::Ready {
            eof: true,
            available: 0,
        },
        Reply::Data(b""),
        Reply::Time(u64::MAX),
        Reply::DataWindow(0x0102_0304),
        Reply::Synced,
        Reply::Share(true),
        Reply::Share(false),
        Reply::Data(b"x"),
    ]);
    let expected = vec![
        (Answer::Data { length: 3 }, b"\x81\x82\xff".to_vec()),
        (
            Answer::Ready {
                eof: true,
                available: 0,
            },
            vec![],
        ),
        (Answer::Data { length: 0 }, vec![]),
        (Answer::Time(u64::MAX), vec![]),
        (Answer::DataWindow { length: 0x0102_0304 }, vec![]),
        (Answer::Synced, vec![]),
        (Answer::Share(true), vec![]),
        (Answer::Share(false), vec![]),
        (Answer::Data { length: 1 }, b"x".to_vec()),
    ];
    for first in 0..=line.len() {
        let (head, tail) = line.split_at(first);
        for second in 0..=tail.len() {
            let (middle, end) = tail.split_at(second);
            assert_eq!(
                parse(&[head, middle, end], 3).as_ref(),
                Ok(&expected),
                "cut at {first}, {second}"
            );
        }
    }
    for size in 1..=line.len() {
        let pieces: Vec<&[u8]> = line.chunks(size).collect();
        assert_eq!(parse(&pieces, 3).as_ref(), Ok(&expected), "pieces of {size}");
    }
}

#[test]
fn reading_what_is_wanted_ends_with_the_answer() {
    let line = encode(&[Reply::Data(b"abc"), Reply::Time(1)]);
    let mut parser = AnswerParser::new();
    let mut buffer = [0; 3];
    let mut position = 0;
    let mut ends = vec![];
    while position < line.len() {
        let wanted = parser.wanted();
        assert!(wanted > 0);
        let progress = parser
            .feed(&line[position..position + wanted], &mut buffer)
            .unwrap();
        assert_eq!(progress.used, wanted);
        position += wanted;
        if progress.answer.is_some() {
            ends.push(position);
        }
    }
    assert_eq!(ends, [6, line.len()]);
}

#[test]
fn what_is_no_answer_is_an_error_at_once() {
    assert_eq!(parse(&[b"\x80"], 9), Err(AnswerError::UnknownKind(0x80)));
    assert_eq!(parse(&[b"\x87"], 9), Err(AnswerError::UnknownKind(0x87)));
    assert_eq!(parse(&[b"\x00"], 9), Err(AnswerError::UnknownKind(0)));
    for kind in [0x84, 0x85, 0x86] {
        assert_eq!(
            parse(&[&[kind, 3, 0]], 9),
            Err(AnswerError::WrongLength { kind, length: 3 })
        );
    }
    assert_eq!(
        parse(&[b"\x82\x04\x00"], 9),
        Err(AnswerError::WrongLength {
            kind: 0x82,
            length: 4
        })
    );
    assert_eq!(
        parse(&[b"\x83\x09\x00"], 9),
        Err(AnswerError::WrongLength {
            kind: 0x83,
            length: 9
        })
    );
}

#[test]
fn data_never_leaves_its_buffer() {
    assert_eq!(parse(&[b"\x81\x04\x00abcd"], 4).unwrap().len(), 1);
    assert_eq!(
        parse(&[b"\x81\x05\x00"], 4),
        Err(AnswerError::WrongLength {
            kind: 0x81,
            length: 5
        })
    );
    assert_eq!(
        parse(&[b"\x81\x01\x00"], 0),
        Err(AnswerError::WrongLength {
            kind: 0x81,
            length: 1
        })
    );
    // A caller that changes to a shorter buffer in the middle gets an error, not a panic.
    let mut parser = AnswerParser::new();
    let mut long = [0; 4];
    parser.feed(b"\x81\x04\x00ab", &mut long).unwrap();
    assert_eq!(
        parser.feed(b"cd", &mut [0; 1]),
        Err(AnswerError::WrongLength {
            kind: 0x81,
            length: 4
        })
    );
}
