//! The smallest virtio-mmio driver that can hand a queue to a device: also one that breaks the rules of the queue.

use crate::machine::{self, PAGE, halves, peek, poke};

/// Descriptors of the queue.
const LENGTH: u16 = 8;

/// A descriptor's flags.
pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// A descriptor as it lies in memory.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Descriptor {
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) flags: u16,
    pub(crate) next: u16,
}

/// Registers of the transport (virtio 1.2, 4.2.2).
mod register {
    pub(super) const MAGIC: u64 = 0x00;
    pub(super) const DEVICE: u64 = 0x08;
    pub(super) const DRIVER_FEATURES: u64 = 0x20;
    pub(super) const DRIVER_FEATURES_SELECT: u64 = 0x24;
    pub(super) const QUEUE_SELECT: u64 = 0x30;
    pub(super) const QUEUE_LENGTH: u64 = 0x38;
    pub(super) const QUEUE_READY: u64 = 0x44;
    pub(super) const NOTIFY: u64 = 0x50;
    pub(super) const STATUS: u64 = 0x70;
    pub(super) const DESCRIPTORS: u64 = 0x80;
    pub(super) const AVAILABLE: u64 = 0x90;
    pub(super) const USED: u64 = 0xa0;
}

/// What a device is for.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    FileSystem,
    Network,
}

impl Kind {
    /// Its number.
    fn number(self) -> u32 {
        match self {
            Self::Network => 1,
            Self::FileSystem => 26,
        }
    }

    /// The queues that are set up, all in the same memory. Only the one of the number [`USED`] is ever notified.
    fn queues(self) -> &'static [u32] {
        match self {
            // Queue 0 is for frames that are received: nobody wants any.
            Self::Network => &[USED],
            // Queue 0 is for urgent requests.
            Self::FileSystem => &[0, USED],
        }
    }
}

/// The queue of a network's frames to send, and that of a file system's requests.
const USED: u32 = 1;

/// A device, and its queue.
pub(crate) struct Queue {
    device: u64,
    /// A page each: descriptors, what is handed over, what comes back.
    memory: u64,
    handed_over: u16,
}

impl Queue {
    /// The queue of the machine's first device of that kind, in three pages at `memory`.
    pub(crate) fn new(kind: Kind, memory: u64) -> Option<Self> {
        Self::with_rings(kind, memory, [memory, memory + PAGE, memory + 2 * PAGE])
    }

    /// The same with rings at these addresses.
    pub(crate) fn with_rings(kind: Kind, memory: u64, rings: [u64; 3]) -> Option<Self> {
        const MAGIC: u32 = 0x7472_6976;
        let places = (0..24).map(|index| 0xfeb0_0000 + index * 0x200);
        let device = places.into_iter().find(|place| {
            peek::<u32>(place + register::MAGIC) == MAGIC
                && peek::<u32>(place + register::DEVICE) == kind.number()
        })?;
        for page in 0..3 {
            for word in 0..PAGE / 8 {
                poke(memory + page * PAGE + word * 8, 0_u64);
            }
        }
        let write = |register, value: u32| poke(device + register, value);
        // Reset, acknowledge, driver; of the features VERSION_1 alone.
        for status in [0, 1, 3] {
            write(register::STATUS, status);
        }
        write(register::DRIVER_FEATURES_SELECT, 1);
        write(register::DRIVER_FEATURES, 1);
        write(register::STATUS, 0xb);
        for queue in kind.queues() {
            write(register::QUEUE_SELECT, *queue);
            write(register::QUEUE_LENGTH, LENGTH.into());
            let registers = [register::DESCRIPTORS, register::AVAILABLE, register::USED];
            for (register, address) in registers.into_iter().zip(rings) {
                let [low, high] = halves(address);
                poke(device + register, low);
                poke(device + register + 4, high);
            }
            write(register::QUEUE_READY, 1);
        }
        write(register::STATUS, 0xf);
        Some(Self {
            device,
            memory,
            handed_over: 0,
        })
    }

    /// Hands over a chain that begins with descriptor 0.
    pub(crate) fn submit(&mut self, descriptors: &[Descriptor]) {
        for (index, descriptor) in (0..).zip(descriptors) {
            poke(self.memory + index * 16, *descriptor);
        }
        let available = self.memory + PAGE;
        poke(available + 4 + u64::from(self.handed_over % LENGTH) * 2, 0_u16);
        self.handed_over = self.handed_over.wrapping_add(1);
        poke(available + 2, self.handed_over);
        self.notify();
    }

    /// Says that more was handed over than there are descriptors.
    pub(crate) fn claim(&mut self, count: u16) {
        self.handed_over = self.handed_over.wrapping_add(count);
        poke(self.memory + PAGE + 2, self.handed_over);
        self.notify();
    }

    fn notify(&self) {
        poke(self.device + register::NOTIFY, USED);
    }

    /// Waits until everything was answered; whether it was, in time.
    pub(crate) fn answered(&self) -> bool {
        // Nanoseconds, under translation.
        const PIECE: u64 = 100_000;
        self.answered_in(20_000, PIECE)
    }

    /// The same for answers that come at once, looked for without a pause.
    pub(crate) fn answered_soon(&self) -> bool {
        self.answered_in(1_000_000, 0) || self.answered()
    }

    fn answered_in(&self, looks: u64, pause: u64) -> bool {
        for _ in 0..looks {
            if peek::<u16>(self.memory + 2 * PAGE + 2) == self.handed_over {
                return true;
            }
            machine::wait(pause);
        }
        false
    }
}
