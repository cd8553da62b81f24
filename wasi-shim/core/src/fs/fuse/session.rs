//! One request and its reply: composing, sending, and believing nothing of what comes back.
//!
//! Layer: file systems. Implements the framing of `linux/fuse.h`: a header, the operation's structure, names that
//! end with a zero byte, data. The reply's header must be that of this request, and say the length that came.

use alloc::vec::Vec;

use fuse_abi::linux::{
    FUSE_BIG_WRITES, FUSE_DO_READDIRPLUS, FUSE_KERNEL_MINOR_VERSION, FUSE_KERNEL_VERSION, FUSE_MAX_PAGES,
    fuse_batch_forget_in, fuse_forget_one, fuse_in_header, fuse_init_in, fuse_init_out, fuse_opcode,
    fuse_out_header,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Transport, errno::from_linux};
use crate::Errno;

const IN_HEADER: usize = size_of::<fuse_in_header>();
const OUT_HEADER: usize = size_of::<fuse_out_header>();

/// Bytes of a reply's structure at most: an entry and what was opened.
const LONGEST_STRUCT: usize = 160;

/// The oldest minor version of the protocol that is spoken: the one with `max_pages`, of 2018.
const OLDEST_MINOR: u32 = 28;

/// The longest read or write. Servers refuse more; the protocol's `max_pages` of 256 says the same.
const LONGEST_TRANSFER: u32 = 1 << 20;

/// Where a server does not say how many pages a request may have, as Linux assumes.
const DEFAULT_PAGES: u32 = 32;

/// FUSE's unit of `max_pages`, whatever the machine's.
const PAGE: u32 = 4096;

/// The largest number that can be an error.
const LAST_ERRNO: i32 = 511;

/// A server that has agreed on a version.
#[derive(Debug)]
pub(super) struct Session<T> {
    transport: T,
    unique: u64,
    /// The request that is being made, kept for its memory.
    out: Vec<u8>,
    /// The longest read or write.
    pub(super) max_transfer: u32,
    /// Whether a listing may tell attributes.
    pub(super) readdirplus: bool,
}

impl<T: Transport> Session<T> {
    /// Greets the server.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn new(transport: T) -> Result<Self, Errno> {
        let mut session = Self {
            transport,
            unique: 0,
            out: Vec::new(),
            max_transfer: PAGE,
            readdirplus: false,
        };
        let hello = fuse_init_in {
            major: FUSE_KERNEL_VERSION,
            minor: FUSE_KERNEL_MINOR_VERSION,
            flags: FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_DO_READDIRPLUS,
            ..fuse_init_in::default()
        };
        let answer: fuse_init_out = session.call(fuse_opcode::FUSE_INIT, 0, &hello, &[])?;
        // An older server would have answered with a shorter structure, which is an error before this one.
        if answer.major != FUSE_KERNEL_VERSION || answer.minor < OLDEST_MINOR {
            return Err(Errno::PROTONOSUPPORT);
        }
        let pages = if answer.flags & FUSE_MAX_PAGES == 0 {
            DEFAULT_PAGES
        } else {
            u32::from(answer.max_pages).max(1)
        };
        session.max_transfer = answer
            .max_write
            .max(PAGE)
            .min(pages.saturating_mul(PAGE))
            .min(LONGEST_TRANSFER);
        session.readdirplus = answer.flags & FUSE_DO_READDIRPLUS != 0;
        Ok(session)
    }

    /// A request whose reply is the structure `R`, or nothing.
    pub(super) fn call<R: FromBytes>(
        &mut self,
        opcode: fuse_opcode,
        nodeid: u64,
        args: &(impl IntoBytes + Immutable + ?Sized),
        names: &[&[u8]],
    ) -> Result<R, Errno> {
        self.call_with(opcode, nodeid, args, names, &[])
    }

    /// The same, with data.
    pub(super) fn call_with<R: FromBytes>(
        &mut self,
        opcode: fuse_opcode,
        nodeid: u64,
        args: &(impl IntoBytes + Immutable + ?Sized),
        names: &[&[u8]],
        data: &[u8],
    ) -> Result<R, Errno> {
        const { assert!(size_of::<R>() <= LONGEST_STRUCT) };
        let mut reply = [0; OUT_HEADER + LONGEST_STRUCT];
        let reply = reply
            .get_mut(..OUT_HEADER.saturating_add(size_of::<R>()))
            .ok_or(Errno::IO)?;
        let len = self.exchange(opcode, nodeid, args.as_bytes(), names, data, reply, &mut [])?;
        let body = reply.get(OUT_HEADER..).unwrap_or_default();
        match R::read_from_bytes(body) {
            Ok(value) if len == body.len() => Ok(value),
            _ => Err(Errno::IO),
        }
    }

    /// A request whose reply is data, which goes to `buf`; how much that was.
    pub(super) fn fetch(
        &mut self,
        opcode: fuse_opcode,
        nodeid: u64,
        args: &(impl IntoBytes + Immutable + ?Sized),
        buf: &mut [u8],
    ) -> Result<usize, Errno> {
        let mut head = [0; OUT_HEADER];
        self.exchange(opcode, nodeid, args.as_bytes(), &[], &[], &mut head, buf)
    }

    /// Takes back look-ups. There is no reply, and nothing to do about a failure.
    pub(super) fn forget(&mut self, nodes: &[fuse_forget_one]) {
        let Ok(count) = u32::try_from(nodes.len()) else {
            return;
        };
        let head = fuse_batch_forget_in { count, dummy: 0 };
        let opcode = fuse_opcode::FUSE_BATCH_FORGET;
        if self
            .compose(opcode, 0, head.as_bytes(), &[], nodes.as_bytes())
            .is_ok()
        {
            let _: Result<(), Errno> = self.transport.notify(&[&self.out, nodes.as_bytes()]);
        }
    }

    /// Makes the request in `self.out`, all but its data.
    fn compose(
        &mut self,
        opcode: fuse_opcode,
        nodeid: u64,
        args: &[u8],
        names: &[&[u8]],
        data: &[u8],
    ) -> Result<u64, Errno> {
        let names_len: usize = names.iter().map(|name| name.len().saturating_add(1)).sum();
        let own = IN_HEADER.saturating_add(args.len()).saturating_add(names_len);
        let len = u32::try_from(own.saturating_add(data.len())).map_err(|_| Errno::INVAL)?;
        // The lowest bit is the server's, for interrupts.
        self.unique = self.unique.wrapping_add(2);
        let header = fuse_in_header {
            len,
            opcode: opcode as u32,
            unique: self.unique,
            nodeid,
            ..fuse_in_header::default()
        };
        self.out.clear();
        self.out.try_reserve(own).map_err(|_| Errno::NOMEM)?;
        self.out.extend_from_slice(header.as_bytes());
        self.out.extend_from_slice(args);
        for name in names {
            self.out.extend_from_slice(name);
            self.out.push(0);
        }
        Ok(self.unique)
    }

    /// Sends a request, and checks the reply's header, with which `head` begins. What follows it fills the rest of
    /// `head` and then `body`; how many bytes that is.
    #[expect(clippy::too_many_arguments, reason = "the parts of a request and of a reply")]
    fn exchange(
        &mut self,
        opcode: fuse_opcode,
        nodeid: u64,
        args: &[u8],
        names: &[&[u8]],
        data: &[u8],
        head: &mut [u8],
        body: &mut [u8],
    ) -> Result<usize, Errno> {
        let unique = self.compose(opcode, nodeid, args, names, data)?;
        let room = head.len().saturating_add(body.len());
        let written = self
            .transport
            .request(&[&self.out, data], &mut [&mut *head, body])?;
        let Ok((header, _)) = fuse_out_header::read_from_prefix(head) else {
            return Err(Errno::IO);
        };
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        if written < OUT_HEADER || header.unique != unique || len > written || len > room {
            return Err(Errno::IO);
        }
        match header.error {
            0 => len.checked_sub(OUT_HEADER).ok_or(Errno::IO),
            error if (-LAST_ERRNO..0).contains(&error) => Err(from_linux(error.saturating_neg())),
            _ => Err(Errno::IO),
        }
    }
}
