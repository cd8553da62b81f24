//! Attacks on the network: frames as the test has made them, whatever they are, without a stack between them and the
//! device. What is sent back is not received.

use crate::console::standard_output;
use crate::machine::{Machine, PAGE, poke};
use crate::virtio::{Descriptor, Kind, Queue};

/// What stands before a frame: no offload of anything.
const HEADER: u32 = 12;

/// Sends what follows the order: frames, each with its length before it, 16 bits, the higher byte first. A length of 0
/// ends them.
pub(crate) fn frames(machine: &Machine) {
    let (from, _) = machine.regions()[0];
    let memory = from.next_multiple_of(PAGE);
    let buffer = memory + 3 * PAGE;
    let Some(mut queue) = Queue::new(Kind::Network, memory) else {
        return standard_output("this machine has no network\n");
    };
    for byte in 0..u64::from(HEADER) {
        poke(buffer + byte, 0_u8);
    }
    let mut rest = machine.rest();
    loop {
        let Some((length, more)) = rest.split_first_chunk() else {
            return standard_output("the frames have no end\n");
        };
        let length = u16::from_be_bytes(*length);
        if length == 0 {
            return standard_output("all frames are sent\n");
        }
        let Some((frame, more)) = more.split_at_checked(length.into()) else {
            return standard_output("a frame is cut off\n");
        };
        for (address, byte) in (buffer + u64::from(HEADER)..).zip(frame) {
            poke(address, *byte);
        }
        queue.submit(&[Descriptor {
            address: buffer,
            length: HEADER + u32::from(length),
            flags: 0,
            next: 0,
        }]);
        if !queue.answered_soon() {
            return standard_output("the device takes no more frames\n");
        }
        rest = more;
    }
}
