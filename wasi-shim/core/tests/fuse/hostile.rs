//! Replies that a proper server does not give: an error for the guest, and never more than that.
//!
//! Layer: tests.

use std::{cell::Cell, rc::Rc};

use fuse_abi::linux::{fuse_dirent, fuse_opcode};
use zerocopy::IntoBytes as _;

use super::*;

/// Tampers with replies to one operation.
fn tamper(bed: &TestBed, opcode: fuse_opcode, mut change: impl FnMut(&mut Vec<u8>) + 'static) {
    bed.client.tamper_with(move |asked: u32, reply: &mut Vec<u8>| {
        if asked == opcode as u32 {
            change(reply);
        }
    });
}

/// Sets the header's length to that of the reply.
fn set_len(reply: &mut [u8]) {
    let len = (reply.len() as u32).to_ne_bytes();
    reply[..4].copy_from_slice(&len);
}

/// Whatever is wrong with a reply's header or length.
#[test]
fn headers() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 11] = [
        ("nothing", |reply| reply.clear()),
        ("cut in the header", |reply| reply.truncate(15)),
        ("cut behind the header", |reply| reply.truncate(16)),
        ("cut in the body", |reply| reply.truncate(40)),
        ("a body that is short", |reply| {
            reply.truncate(40);
            set_len(reply);
        }),
        ("more than was said", |reply| {
            reply[..4].copy_from_slice(&20u32.to_ne_bytes());
        }),
        ("less than was said", |reply| {
            reply[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        }),
        ("less than a header", |reply| {
            reply[..4].copy_from_slice(&3u32.to_ne_bytes());
        }),
        ("another request's", |reply| reply[8] ^= 2),
        ("an error above zero", |reply| {
            reply[4..8].copy_from_slice(&5i32.to_ne_bytes());
        }),
        ("an error that is none", |reply| {
            reply[4..8].copy_from_slice(&i32::MIN.to_ne_bytes());
        }),
    ];
    for (what, change) in changes {
        let mut bed = TestBed::new();
        write(&bed.dir.join("f"), "");
        tamper(&bed, fuse_opcode::FUSE_LOOKUP, change);
        assert_eq!(bed.find("f"), Err(Errno::IO), "{what}");
    }
}

/// A greeting that cannot be agreed with.
#[test]
fn greetings() {
    for (at, value, expected) in [
        (16, 6u32, Errno::PROTONOSUPPORT),
        (16, 8, Errno::PROTONOSUPPORT),
        (20, 27, Errno::PROTONOSUPPORT),
    ] {
        let dir = Directory::new();
        let client = Client::new(&dir, Config::default());
        client.tamper_with(move |_: u32, reply: &mut Vec<u8>| {
            reply[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        });
        assert_eq!(FuseFs::new(client, 0).err(), Some(expected), "{value} at {at}");
    }
}

/// Nodes and attributes that cannot be.
#[test]
fn entries() {
    // The node's number is the first word behind the header, the size the seventh.
    for (what, at, value, expected) in [
        ("no node", 16, 0u64, Errno::NOENT),
        ("the root", 16, 1, Errno::IO),
        ("a size below zero", 16 + 48, 1 << 63, Errno::IO),
    ] {
        let mut bed = TestBed::new();
        write(&bed.dir.join("f"), "");
        tamper(&bed, fuse_opcode::FUSE_LOOKUP, move |reply| {
            reply[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        });
        assert_eq!(bed.find("f"), Err(expected), "{what}");
    }
}

/// More than was asked for.
#[test]
fn counts() {
    let mut bed = TestBed::new();
    write(&bed.dir.join("f"), "hello");
    let handle = bed.open("f", BOTH);
    tamper(&bed, fuse_opcode::FUSE_WRITE, |reply| reply[16] += 1);
    assert_eq!(bed.fs.write(handle, 0, b"abc", &mut now), Err(Errno::IO));
    tamper(&bed, fuse_opcode::FUSE_READ, |reply| {
        reply.push(0);
        set_len(reply);
    });
    assert_eq!(bed.fs.read(handle, 0, &mut [0; 5], &mut now), Err(Errno::IO));
    tamper(&bed, fuse_opcode::FUSE_WRITE, |reply| reply[16] -= 1);
    assert_eq!(bed.fs.write(handle, 0, b"abc", &mut now), Ok(2));
}

/// Targets of symbolic links that Linux has none of.
#[test]
fn targets() {
    for target in [vec![b'x'; 4096], b"a\0b".to_vec()] {
        let mut bed = TestBed::new();
        std::os::unix::fs::symlink("x", bed.dir.join("l")).expect("a link");
        let node = bed.find("l").expect("it is there").node;
        tamper(&bed, fuse_opcode::FUSE_READLINK, move |reply| {
            reply.truncate(16);
            reply.extend_from_slice(&target);
            set_len(reply);
        });
        assert_eq!(bed.fs.read_link(node, &mut [0; 4096]), Err(Errno::IO));
    }
}

/// Entries with names that are none, or with lengths beyond what came.
#[test]
fn names() {
    for (name, namelen) in [
        (&b"a/b"[..], 3),
        (b"a\0b", 3),
        (b"", 0),
        (b"abc", 300),
        (b"abc", u32::MAX),
        (&[b'x'; 256], 256),
    ] {
        let mut bed = TestBed::new();
        let root = bed.root;
        let handle = bed.fs.open(root, READ).expect("it can be opened");
        let name = name.to_vec();
        tamper(&bed, fuse_opcode::FUSE_READDIR, move |reply| {
            let dirent = fuse_dirent {
                ino: 1,
                off: 1,
                namelen,
                type_: 8,
                ..fuse_dirent::default()
            };
            reply.truncate(16);
            reply.extend_from_slice(dirent.as_bytes());
            reply.extend_from_slice(&name);
            reply.resize(reply.len().next_multiple_of(8), 0);
            set_len(reply);
        });
        let result = bed.fs.read_dir(handle, 0, &mut |_| true, &mut now);
        assert_eq!(result, Err(Errno::IO), "{namelen}");
    }
}

/// A listing of nothing but `.` that never ends.
#[test]
fn listings_without_end() {
    let mut bed = TestBed::new();
    let root = bed.root;
    let handle = bed.fs.open(root, READ).expect("it can be opened");
    tamper(&bed, fuse_opcode::FUSE_READDIR, |reply| {
        let dirent = fuse_dirent {
            ino: 1,
            off: 1,
            namelen: 1,
            type_: 4,
            ..fuse_dirent::default()
        };
        reply.truncate(16);
        reply.extend_from_slice(dirent.as_bytes());
        reply.extend_from_slice(b".\0\0\0\0\0\0\0");
        set_len(reply);
    });
    let result = bed.fs.read_dir(handle, 0, &mut |_| true, &mut now);
    assert_eq!(result, Err(Errno::IO));
}

/// Any bits of any replies wrong: the client says something and goes on. The sequence is the same on every run.
#[test]
fn noise() {
    let mut total = 0;
    for seed in 1..300u64 {
        let mut bed = TestBed::new();
        write(&bed.dir.join("f"), "hello");
        std::fs::create_dir(bed.dir.join("d")).expect("a directory");
        std::os::unix::fs::symlink("f", bed.dir.join("l")).expect("a link");
        let wrong = Rc::new(Cell::new(0));
        bed.client.tamper_with({
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let wrong = Rc::clone(&wrong);
            move |_: u32, reply: &mut Vec<u8>| {
                let mut random = || {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state
                };
                if random() % 4 == 0 {
                    wrong.set(wrong.get() + 1);
                    match random() % 3 {
                        0 => reply.truncate(random() as usize % (reply.len() + 1)),
                        // Not the nodes: the server of the tests counts what is forgotten.
                        _ if reply.len() > 24 => {
                            let at = 24 + random() as usize % (reply.len() - 24);
                            reply[at] ^= random() as u8;
                        }
                        _ => reply[random() as usize % 16] ^= random() as u8,
                    }
                }
            }
        });
        exercise(&mut bed);
        total += wrong.get();
    }
    assert!(total > 1000, "{total} replies were tampered with");
}

/// A bit of everything, whatever it says.
fn exercise(bed: &mut TestBed) {
    let root = bed.root;
    for round in 0..3 {
        bed.fs.begin_call();
        for name in ["f", "d", "l", "new"] {
            let Ok(found) = bed.find(name) else { continue };
            let _ = bed.fs.stat(found.node);
            let _ = bed.fs.read_link(found.node, &mut [0; 100]);
            let access = if round == 0 { READ } else { BOTH };
            if let Ok(handle) = bed.fs.open(found.node, access) {
                let _ = bed.fs.read(handle, 0, &mut [0; 5000], &mut now);
                let _ = bed.fs.write(handle, 0, &[1; 5000], &mut now);
                let _ = bed.fs.append(handle, b"x", &mut now);
                let _ = bed.fs.set_size(handle, 3, &mut now);
                let _ = bed.fs.read_dir(handle, 0, &mut |_| true, &mut now);
                let _ = bed.fs.flush(handle);
                bed.fs.close(handle);
            }
        }
        if let Ok(handle) = bed.fs.open(root, READ) {
            let _ = bed.fs.read_dir(handle, 0, &mut |_| true, &mut now);
            bed.fs.close(handle);
        }
        let _ = bed.fs.create(root, b"new", &mut now);
        let _ = bed.fs.rename(root, b"new", root, b"newer", &mut now);
        let _ = bed.fs.unlink(root, b"newer", &mut now);
    }
    bed.fs.settle();
}
