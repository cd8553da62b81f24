//! The connection over which the client is told what to do: requests and answers of 16 bytes each, padded with spaces.
//!
//! | request | what the client does | answer |
//! |---|---|---|
//! | `connect K` | makes connection K | `done` |
//! | `send K N` | sends N bytes over it, of which each is one more than the one before | `done` |
//! | `end K` | sends no more | `done` |
//! | `close K` | closes it | `done` |
//! | `reset K` | breaks it | `done` |
//! | `read K N` | reads until it has had N bytes over it, or the connection has ended | `N SUM`: how many, and their sum |
//! | `gone K` | waits until the host has forgotten the guest's end of it | `done` |

use guests::{errno_name, write_all};

/// The listener.
pub const LISTENER: u32 = 3;

const LENGTH: usize = 16;

/// The connection to the client.
pub struct Control(u32);

impl Control {
    /// Waits for it. The listener does not wait from then on.
    pub fn accept() -> Result<Self, String> {
        // SAFETY: no pointer is passed.
        unsafe { wasip1::fd_fdstat_set_flags(LISTENER, wasip1::FDFLAGS_NONBLOCK) }
            .map_err(|errno| format!("the listener cannot be made nonblock: {}", errno.name()))?;
        loop {
            wait_for_listener()?;
            // SAFETY: no pointer is passed.
            match unsafe { wasip1::sock_accept(LISTENER, 0) } {
                Ok(fd) => return Ok(Self(fd)),
                Err(wasip1::ERRNO_AGAIN) => {}
                Err(errno) => return Err(format!("no connection to the client: {}", errno.name())),
            }
        }
    }

    /// Tells the client to do something; its answer.
    pub fn ask(&mut self, request: &str) -> Result<String, String> {
        let padded = format!("{request:LENGTH$}");
        write_all(self.0, padded.as_bytes()).map_err(|errno| format!("{request}: {}", errno.name()))?;
        let mut answer = [0_u8; LENGTH];
        let mut had = 0;
        while had < LENGTH {
            let room = &mut answer[had..];
            let iovec = wasip1::Iovec {
                buf: room.as_mut_ptr(),
                buf_len: room.len(),
            };
            // SAFETY: the one vector describes `room`, which outlives the call.
            match unsafe { wasip1::fd_read(self.0, &[iovec]) } {
                Ok(count @ 1..) => had += count,
                Ok(_) => return Err(format!("{request}: the client has gone")),
                Err(errno) => return Err(format!("{request}: {}", errno_name(i32::from(errno.raw())))),
            }
        }
        Ok(String::from_utf8_lossy(&answer).trim().to_owned())
    }
}

fn wait_for_listener() -> Result<(), String> {
    let subscription = wasip1::Subscription {
        userdata: 0,
        u: wasip1::SubscriptionU {
            tag: wasip1::EVENTTYPE_FD_READ.raw(),
            u: wasip1::SubscriptionUU {
                fd_read: wasip1::SubscriptionFdReadwrite {
                    file_descriptor: LISTENER,
                },
            },
        },
    };
    let mut event = std::mem::MaybeUninit::uninit();
    // SAFETY: one subscription, and room for one event.
    unsafe { wasip1::poll_oneoff(&subscription, event.as_mut_ptr(), 1) }
        .map(|_| ())
        .map_err(|errno| format!("the listener cannot be waited for: {}", errno.name()))
}
