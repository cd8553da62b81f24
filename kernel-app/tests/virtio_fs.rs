//! Virtio-fs devices by name, as a run names them: a server of this process stands for each.

#[path = "../../wasi-shim/core/tests/support/directory.rs"]
mod directory;
#[path = "../../wasi-shim/core/tests/support/passthrough.rs"]
mod passthrough;

use std::fs;

use kernel_app::virtio_fs::Devices;

use self::directory::Directory;
use self::passthrough::{Client, Config};

/// One device, `root`, over a directory with a module in it.
fn devices(directory: &Directory) -> (Client, Devices<impl FnMut(&str) -> Option<Client>, Client>) {
    fs::create_dir(directory.join("d")).unwrap();
    fs::write(directory.join("d/m.wasm"), b"\0asm").unwrap();
    let client = Client::new(directory, Config::default());
    let device = client.clone();
    let devices = Devices::new(move |tag: &str| (tag == "root").then(|| device.clone()));
    (client, devices)
}

#[test]
fn a_module_is_read_by_device_and_path() {
    let directory = Directory::new();
    std::os::unix::fs::symlink("d/m.wasm", directory.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", directory.join("out")).unwrap();
    let (_, mut devices) = devices(&directory);
    for path in [
        "/root/d/m.wasm",
        "root/d//m.wasm",
        "//root/d/../d/m.wasm",
        "/root/link",
    ] {
        assert_eq!(devices.read(path), Some(Ok(b"\0asm".to_vec())), "{path}");
    }
    for (path, reason) in [
        ("/root/d/n.wasm", "no such file"),
        ("/root/d", "directory"),
        ("/root/d/m.wasm/x", "no directory"),
        ("/root/out", "permission"),
        ("/root/../x", "permission"),
    ] {
        let error = devices.read(path).unwrap().unwrap_err();
        assert!(error.contains(reason), "{path}: {error}");
    }
    // Not a device: somebody else may know the path.
    for path in ["/other/m.wasm", "m.wasm", "/root", "/", ""] {
        assert_eq!(devices.read(path), None, "{path}");
    }
}

/// One greeting for each device, whether the module was read from it or not; and one owner.
#[test]
fn a_device_is_greeted_once_and_taken_once() {
    let directory = Directory::new();
    let (client, mut devices) = devices(&directory);
    devices.read("/root/d/m.wasm").unwrap().unwrap();
    let fs = devices.take("root").unwrap();
    let init = 26;
    assert_eq!(client.server.borrow().requests.get(&init), Some(&1));
    drop(fs);
    let error = devices.take("root").err().unwrap();
    assert!(error.contains("root") && error.contains("already"), "{error}");
    assert_eq!(devices.read("/root/d/m.wasm"), None);
    let error = devices.take("other").err().unwrap();
    assert!(
        error.contains("other") && error.contains("no virtio-fs device"),
        "{error}"
    );
}

/// A server that does not know the protocol is no reason to fail without a word.
#[test]
fn a_server_that_cannot_be_spoken_with_is_named() {
    let directory = Directory::new();
    let (client, mut devices) = devices(&directory);
    client.tamper_with(|_, reply| reply.truncate(16));
    for error in [
        devices.read("/root/x").unwrap().unwrap_err(),
        devices.take("root").err().unwrap(),
    ] {
        assert!(error.contains("root") && error.contains("FUSE"), "{error}");
    }
}
