//! The machine's side of a vhost-user file system, by hand: what an attacker who owns the machine can say to virtiofsd.
//!
//! The memory that both share is a file which is read and written at offsets, so that nothing has to be mapped here.

use std::fs::File;
use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;

use rustix::event::EventfdFlags;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// Memory that is shared with the daemon, and where it lies in "QEMU's" address space.
const MEMORY: u64 = 4 << 20;
const ADDRESS: u64 = 0x1000_0000;

/// What lies where in it.
const DESCRIPTORS: u64 = 0;
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;
const REQUEST: u64 = 0x1_0000;
const REPLY: u64 = 0x20_0000;
const REPLY_SIZE: u32 = 0x10_0000;

/// Descriptors in the ring.
const RING: u16 = 16;

/// The queue of requests; queue 0 is for interrupts.
const QUEUE: u32 = 1;

/// Whom the requests claim to come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// A connection to virtiofsd, after FUSE's INIT.
#[derive(Debug)]
pub(super) struct Fuse {
    connection: UnixStream,
    memory: File,
    kick: File,
    call: File,
    sent: u16,
    pub(super) caller: Caller,
}

/// Requests of vhost-user.
mod request {
    pub(super) const GET_FEATURES: u32 = 1;
    pub(super) const SET_FEATURES: u32 = 2;
    pub(super) const SET_OWNER: u32 = 3;
    pub(super) const SET_MEM_TABLE: u32 = 5;
    pub(super) const SET_VRING_NUM: u32 = 8;
    pub(super) const SET_VRING_ADDR: u32 = 9;
    pub(super) const SET_VRING_BASE: u32 = 10;
    pub(super) const SET_VRING_KICK: u32 = 12;
    pub(super) const SET_VRING_CALL: u32 = 13;
}

/// VIRTIO_F_VERSION_1.
const VERSION_1: u64 = 1 << 32;

impl Fuse {
    /// Speaks on the connection that the launcher has made, of which QEMU is told the number.
    pub(super) fn new() -> Self {
        let number = std::env::args()
            .find_map(|word| {
                let (_, number) = word.strip_prefix("socket,id=mount-0,")?.split_once("fd=")?;
                number.parse().ok()
            })
            .expect("a mounted directory");
        // SAFETY: the launcher left this descriptor open for this process, which has one owner of it: this one.
        let connection = UnixStream::from(unsafe { OwnedFd::from_raw_fd(number) });
        // The jail lets it make no memory that it was not given.
        let memory = std::env::args().find_map(|word| {
            let name = word.split(',').find_map(|part| part.strip_prefix("mem-path="))?;
            Some(File::options().read(true).write(true).open(name).unwrap())
        });
        let memory = memory.expect("the machine's memory");
        let event = || File::from(rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        let fuse = Self {
            connection,
            memory,
            kick: event(),
            call: event(),
            sent: 0,
            caller: Caller { uid: 0, gid: 0 },
        };
        fuse.connect();
        let mut fuse = fuse;
        // Version 7.31, no read-ahead, no flags.
        let init = numbers(&[7, 31, 0, 0]);
        fuse.ask(26, 0, &init).expect("INIT");
        fuse
    }

    fn connect(&self) {
        use request::*;
        self.tell(GET_FEATURES, &[], None);
        let mut reply = [0; 20];
        (&self.connection).read_exact(&mut reply).unwrap();
        self.tell(SET_OWNER, &[], None);
        self.tell(SET_FEATURES, &VERSION_1.to_le_bytes(), None);
        let mut table = numbers(&[1, 0]);
        // Guest's address, size, QEMU's address, offset in the file.
        for word in [0, MEMORY, ADDRESS, 0] {
            table.extend_from_slice(&u64::to_le_bytes(word));
        }
        self.tell(SET_MEM_TABLE, &table, Some(self.memory.as_fd()));
        self.tell(SET_VRING_NUM, &numbers(&[QUEUE, RING.into()]), None);
        let mut addresses = numbers(&[QUEUE, 0]);
        for place in [DESCRIPTORS, USED, AVAILABLE, 0] {
            addresses.extend_from_slice(&(ADDRESS + place).to_le_bytes());
        }
        self.tell(SET_VRING_ADDR, &addresses, None);
        self.tell(SET_VRING_BASE, &numbers(&[QUEUE, 0]), None);
        let index = u64::from(QUEUE).to_le_bytes();
        self.tell(SET_VRING_CALL, &index, Some(self.call.as_fd()));
        self.tell(SET_VRING_KICK, &index, Some(self.kick.as_fd()));
    }

    /// One message of vhost-user.
    fn tell(&self, request: u32, payload: &[u8], descriptor: Option<BorrowedFd<'_>>) {
        const VERSION: u32 = 1;
        let mut message = numbers(&[request, VERSION, payload.len().try_into().unwrap()]);
        message.extend_from_slice(payload);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
        if !descriptors.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        }
        let sent = rustix::net::sendmsg(
            &self.connection,
            &[IoSlice::new(&message)],
            &mut ancillary,
            SendFlags::empty(),
        );
        assert_eq!(sent.unwrap(), message.len());
    }

    /// One request of FUSE: the reply's payload, or Linux's errno. A daemon that has gone is errno 0.
    pub(super) fn ask(&mut self, operation: u32, node: u64, payload: &[u8]) -> Result<Vec<u8>, i32> {
        let length = u32::try_from(40 + payload.len()).unwrap();
        let mut message = numbers(&[length, operation]);
        message.extend_from_slice(&u64::from(self.sent).to_le_bytes());
        message.extend_from_slice(&node.to_le_bytes());
        message.extend_from_slice(&numbers(&[self.caller.uid, self.caller.gid, 1, 0]));
        message.extend_from_slice(payload);
        self.memory.write_all_at(&message, REQUEST).unwrap();
        self.memory.write_all_at(&[0; 16], REPLY).unwrap();
        self.exchange(length)?;

        let mut header = [0; 16];
        self.memory.read_exact_at(&mut header, REPLY).unwrap();
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        match word(4).cast_signed() {
            0 => {
                let length = usize::try_from(word(0)).unwrap().saturating_sub(header.len());
                let mut reply = vec![0; length];
                self.memory.read_exact_at(&mut reply, REPLY + 16).unwrap();
                Ok(reply)
            }
            error => Err(-error),
        }
    }

    /// Hands over a request of this length, and waits until it was used.
    fn exchange(&mut self, length: u32) -> Result<(), i32> {
        const NEXT: u64 = 1;
        const WRITE: u64 = 2;
        // Address; length (32 bits), flags (16), next (16).
        for (at, place, length, flags) in [
            (0, REQUEST, length, NEXT | 1 << 16),
            (16, REPLY, REPLY_SIZE, WRITE),
        ] {
            let words = [place, u64::from(length) | flags << 32];
            let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
            self.memory.write_all_at(&bytes, DESCRIPTORS + at).unwrap();
        }
        let slot = u64::from(self.sent % RING);
        self.memory
            .write_all_at(&0u16.to_le_bytes(), AVAILABLE + 4 + 2 * slot)
            .unwrap();
        self.sent = self.sent.wrapping_add(1);
        self.memory
            .write_all_at(&self.sent.to_le_bytes(), AVAILABLE + 2)
            .unwrap();
        (&self.kick).write_all(&1u64.to_ne_bytes()).unwrap();
        loop {
            let mut used = [0; 2];
            self.memory.read_exact_at(&mut used, USED + 2).unwrap();
            if u16::from_le_bytes(used) == self.sent {
                return Ok(());
            }
            // Its call, or the end of the connection.
            use rustix::event::{PollFd, PollFlags, poll};
            let mut events = [
                PollFd::new(&self.call, PollFlags::IN),
                PollFd::new(&self.connection, PollFlags::IN),
            ];
            poll(&mut events, None).unwrap();
            if !events[0].revents().is_empty() {
                (&self.call).read_exact(&mut [0; 8]).unwrap();
            } else if !events[1].revents().is_empty() {
                return Err(0);
            }
        }
    }
}

/// Words of 32 bits, as both protocols have them.
pub(super) fn numbers(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
