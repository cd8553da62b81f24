//! Devices for networks and files that lie, by registers, configuration space and rings.

#[path = "../../../virtio-devices/tests/support/hostile.rs"]
mod hostile;

/// See `virtio-devices/tests/support/hostile.rs`.
pub fn run(data: &[u8]) {
    hostile::check(data);
}
