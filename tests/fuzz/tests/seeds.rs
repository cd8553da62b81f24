//! Replays every seed, among them each input that once found something, without libFuzzer.

use std::{fs, path::Path};

use hermit_wasm_fuzz as properties;

/// Replays the seeds of one target. There are some: a target without any would be run from nothing.
fn replay(target: &str, run: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&directory).expect("every target has seeds") {
        let path = entry.expect("it can be read").path();
        // Shown if the replay panics.
        println!("{}", path.display());
        run(&fs::read(&path).expect("it can be read"));
        count += 1;
    }
    assert!(count > 0, "{} is empty", directory.display());
}

#[test]
fn application() {
    replay("application", properties::application::run);
}

#[test]
fn archive() {
    replay("archive", properties::archive::run);
}

#[test]
fn run_spec() {
    replay("run_spec", properties::run_spec::run);
}

#[test]
fn virtio_device() {
    replay("virtio_device", properties::virtio_device::run);
}

#[test]
fn calls() {
    replay("calls", properties::calls::run);
}

#[test]
fn console() {
    replay("console", properties::console::run);
}

#[test]
fn device_tree() {
    replay("device_tree", properties::device_tree::run);
}

#[test]
fn frames() {
    replay("frames", properties::frames::run);
}

#[test]
fn hermitfile() {
    replay("hermitfile", properties::hermitfile::run);
}

#[test]
fn machine() {
    replay("machine", properties::machine::run);
}

#[test]
fn mem_fs() {
    replay("mem_fs", properties::mem_fs::run);
}

#[test]
fn modules() {
    replay("modules", properties::modules::run);
}

#[test]
fn oci() {
    replay("oci", properties::oci::run);
}

#[test]
fn paths() {
    replay("paths", properties::paths::run);
}

#[test]
fn packed() {
    replay("packed", properties::packed::run);
}

#[test]
fn recording() {
    replay("recording", properties::recording::run);
}

#[test]
fn relay() {
    replay("relay", properties::relay::run);
}
