//! The network device as the guest's network wants it: frames, time and sleep.
//!
//! Layer: device. Nothing here runs unless the run's description has a network.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use boot_protocol::run_spec;
use guest_network::{Link, Sockets};
use virtio_devices::Broken;

use super::buses::{self, NetDevice, NoDevice};
use super::counter::Counter;
use super::entropy::{self, Entropy};
use super::{allocator, device_tree, devices, panic};

/// The machine's end of the wire.
struct Card {
    device: NetDevice,
    interrupt: u32,
    counter: Counter,
    /// Nanoseconds that were slept.
    slept: u64,
}

/// The network of this machine, for a guest as `network` describes it. `entropy`: the machine's.
///
/// # Errors
/// Why there is none, in words.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn open(network: &run_spec::Network, entropy: &mut Entropy) -> Result<Sockets, String> {
    let mut key = [0; 32];
    if !entropy.fill(&mut key) {
        return Err(format!(
            "its numbers have to be random, and this machine has no source of random numbers: {}",
            entropy::ADVICE
        ));
    }
    let (device, interrupt) = buses::find_net(device_tree::tree(), device_tree::arguments()).map_err(|reason| match reason {
        NoDevice::Missing => String::from(
            "this machine has no network device (QEMU: -netdev user,id=n -device virtio-net-pci,netdev=n; on microvm \
             virtio-net-device)",
        ),
        NoDevice::Unusable(error) => format!("the machine's network device cannot be used: {error}"),
    })?;
    let card = Card {
        device,
        interrupt,
        counter: Counter::new(),
        slept: 0,
    };
    Sockets::new(Box::new(card), key, network)
}

/// Ends the run: no frame will ever arrive again, and who waits for one would wait for ever.
#[cold]
#[cfg_attr(target_os = "hermit", optimize(size))]
fn broken(reason: Broken) -> ! {
    panic::fail(
        panic::FAILED,
        format_args!("hermit-wasm: the machine's network device has failed: {reason}\n"),
    )
}

impl Link for Card {
    fn address(&self) -> [u8; 6] {
        self.device.address()
    }

    fn mtu(&self) -> u16 {
        self.device.mtu()
    }

    fn receive(&mut self, read: &mut dyn FnMut(&[u8])) -> bool {
        let received = self.device.receive(read).is_some();
        // A guest that never sleeps hears of it too.
        if !received && self.device.is_broken() {
            broken(Broken);
        }
        received
    }

    fn can_transmit(&mut self) -> bool {
        self.device.can_transmit()
    }

    fn transmit(&mut self, length: usize, write: &mut dyn FnMut(&mut [u8])) {
        self.device.transmit(length, write);
    }

    fn now(&mut self) -> u64 {
        self.counter.now()
    }

    fn sleep(&mut self, input: bool, room: bool, nanoseconds: Option<u64>) {
        match self.device.prepare_to_wait(room) {
            Ok(true) => {}
            Ok(false) => return,
            Err(reason) => broken(reason),
        }
        let start = self.counter.now();
        // `u64::MAX` microseconds mean for ever.
        let microseconds = nanoseconds.map_or(u64::MAX, |nanoseconds| nanoseconds.div_ceil(1000));
        devices::wait(self.interrupt, input, microseconds);
        self.device.waited();
        let slept = self.counter.now().saturating_sub(start);
        self.slept = self.slept.saturating_add(slept);
    }

    fn slept(&self) -> u64 {
        self.slept
    }

    fn is_idle(&mut self) -> bool {
        self.device.is_idle()
    }

    fn free_memory(&mut self) -> usize {
        allocator::free_memory()
    }
}
