//! A machine of this process for the application: what it is given, and what its guest wrote.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use boot_protocol::command_line::Console;
use boot_protocol::payload;
use boot_protocol::run_spec::{self, LogLevel, RunSpec};
use guest_network::Sockets;
use kernel_app::app::{self, Platform};
use kernel_app::command_line::CommandLine;
use kernel_app::engine::wasmi::Interpreter;
use kernel_app::exit_status::ExitStatus;
use kernel_app::uhyve::{Host, Seek};
use uhyve_interface::v2::parameters::FileAttr;
use wasi_core::network::Network;
use wasi_core::system::{Clock, Readiness, Stream, Wait};
use wasi_core::testing::TestSystem;
use wasi_core::{Errno, System};

use self::wire::Wire;

use crate::passthrough::Client;

#[path = "wire.rs"]
#[allow(dead_code, reason = "each test uses a part")]
pub(crate) mod wire;

/// The system of a machine, seen from both sides; the network only from the guest's.
#[derive(Default)]
pub(crate) struct Shared(pub(crate) Rc<RefCell<TestSystem>>, Option<Sockets>);

impl System for Shared {
    fn clock_time(&mut self, clock: Clock) -> Result<u64, Errno> {
        self.0.borrow_mut().clock_time(clock)
    }
    fn clock_resolution(&mut self, clock: Clock) -> Result<u64, Errno> {
        self.0.borrow_mut().clock_resolution(clock)
    }
    fn fill_random(&mut self, buf: &mut [u8]) -> Result<(), Errno> {
        self.0.borrow_mut().fill_random(buf)
    }
    fn console_write(&mut self, stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        self.0.borrow_mut().console_write(stream, buf)
    }
    fn console_read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        self.0.borrow_mut().console_read(buf)
    }
    fn wait(&mut self, on: &mut [Wait], timeout: Option<u64>) {
        match &mut self.1 {
            Some(sockets) => sockets.wait(on, timeout, &mut || Ok(Readiness::NotReady)),
            None => self.0.borrow_mut().wait(on, timeout),
        }
    }
    fn network(&mut self) -> Option<&mut dyn Network> {
        let sockets = self.1.as_mut()?;
        Some(sockets)
    }
    fn yield_now(&mut self) {
        self.0.borrow_mut().yield_now();
    }
    fn record(&mut self, bytes: &[u8]) {
        self.0.borrow_mut().record(bytes);
    }
    fn recorded(&mut self, now: bool) {
        self.0.borrow_mut().recorded(now);
    }
}

/// Files that uhyve maps, read-only.
#[derive(Clone, Default)]
pub(crate) struct Files {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) open: Option<(String, usize)>,
}

impl Host for Files {
    fn open(&mut self, path: &[u8], _: i32) -> Result<i32, Errno> {
        let path = std::str::from_utf8(path).unwrap();
        self.files.get(path).ok_or(Errno::NOENT)?;
        self.open = Some((path.to_owned(), 0));
        Ok(3)
    }
    fn close(&mut self, _: i32) {
        self.open = None;
    }
    fn read(&mut self, _: i32, buf: &mut [u8]) -> Result<usize, Errno> {
        let (path, at) = self.open.as_mut().unwrap();
        let rest = &self.files[path][*at..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        *at += count;
        Ok(count)
    }
    fn write(&mut self, _: i32, _: &[u8]) -> Result<usize, Errno> {
        Err(Errno::ROFS)
    }
    fn seek(&mut self, _: i32, _: Seek) -> Result<u64, Errno> {
        Err(Errno::NOSYS)
    }
    fn entries(&mut self, _: i32, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::NOSYS)
    }
    fn stat(&mut self, _: &[u8]) -> Result<FileAttr, Errno> {
        Err(Errno::NOENT)
    }
    fn fstat(&mut self, _: i32) -> Result<FileAttr, Errno> {
        Err(Errno::NOENT)
    }
    fn make_dir(&mut self, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::ROFS)
    }
    fn unlink(&mut self, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::ROFS)
    }
}

/// A machine.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) payload: Option<&'static [u8]>,
    pub(crate) embedded: Vec<u8>,
    pub(crate) files: Option<Files>,
    /// What the device `root` serves.
    pub(crate) root: Option<Client>,
    pub(crate) system: Shared,
    /// What its network device is connected to, if it has one.
    pub(crate) wire: Option<Wire>,
    pub(crate) console: Option<Console>,
    pub(crate) log: Cell<Option<LogLevel>>,
    /// In how many nanoseconds it ends.
    pub(crate) deadline: Cell<Option<u64>>,
    /// What the last device asked for was called, and its number.
    pub(crate) asked: RefCell<Vec<(String, Option<u32>)>>,
}

impl Platform for Machine {
    type System = Shared;
    type Device = Client;
    type Files = Files;
    type Engine = Interpreter;

    fn open_console(&mut self, console: Console) {
        assert_eq!(self.console.replace(console), None, "opened twice");
    }
    fn show_log(&self, level: LogLevel) {
        self.log.set(Some(level));
    }
    fn payload(&self) -> Option<&'static [u8]> {
        self.payload
    }
    fn embedded(&self) -> Option<&'static [u8]> {
        Some(self.embedded.clone().leak())
    }
    fn engine(&self) -> Interpreter {
        Interpreter::default()
    }
    fn system(&self) -> Shared {
        Shared(Rc::clone(&self.system.0), None)
    }
    fn connect(&self, system: &mut Shared, network: &run_spec::Network) -> Result<(), String> {
        let wire = self.wire.as_ref().ok_or("it has no network device")?;
        system.1 = Some(wire.network(network)?);
        Ok(())
    }
    fn finish(&self, system: &mut Shared) {
        system.1.as_mut().unwrap().finish();
    }
    fn virtio_fs(&self, tag: &str, number: Option<u32>) -> Option<Client> {
        self.asked.borrow_mut().push((tag.to_owned(), number));
        self.root.clone().filter(|_| tag == "root")
    }
    fn uhyve(&self) -> Option<Files> {
        self.files.clone()
    }
    fn set_deadline(&self, nanoseconds: u64, _: &str) {
        self.deadline.set(Some(nanoseconds));
    }
    fn free_memory(&self) -> usize {
        64 << 20
    }
}

impl Machine {
    pub(crate) fn with_payload(members: &[(&str, &[u8])]) -> Self {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, data) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(data.len().try_into().unwrap());
            archive.append_data(&mut header, path, *data).unwrap();
        }
        Self {
            payload: Some(archive.into_inner().unwrap().leak()),
            embedded: echo("embedded"),
            ..Self::default()
        }
    }

    /// The same, packed.
    pub(crate) fn with_sealed(members: &[(&str, &[u8])]) -> Self {
        let content = Self::with_payload(members).payload.unwrap();
        let seal = payload::seal(blake3::hash(content).as_bytes());
        Self {
            payload: Some([&seal[..], content].concat().leak()),
            ..Self::bare()
        }
    }

    /// Without a payload.
    pub(crate) fn bare() -> Self {
        Self {
            embedded: echo("embedded"),
            ..Self::default()
        }
    }

    /// Runs with the words of `line`, and the kernel's variables.
    pub(crate) fn run(&mut self, line: &str, environment: &[(&str, &str)]) -> ExitStatus {
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.run_line(&CommandLine {
            arguments: line.split_whitespace().map(String::from).collect(),
            environment: environment.collect(),
            of_kernel: Vec::new(),
        })
    }

    /// Runs with a whole command line.
    pub(crate) fn run_line(&mut self, line: &CommandLine) -> ExitStatus {
        app::run(self, line)
    }

    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.system.0.borrow().stdout).into_owned()
    }
}

/// A module that prints `name`, its arguments and its environment, strings ended by `|`.
pub(crate) fn echo(name: &str) -> Vec<u8> {
    let length = name.len();
    let wat = format!(
        r#"(module
        (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 64)
        (data (i32.const 64) "{name}:")
        (func $print (param $at i32) (param $length i32)
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $length))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
        (func (export "_start")
            (call $print (i32.const 64) (i32.const {length_and_colon}))
            (drop (call $args_sizes (i32.const 16) (i32.const 20)))
            (drop (call $args (i32.const 1024) (i32.const 0x100000)))
            (call $print (i32.const 0x100000) (i32.load (i32.const 20)))
            (drop (call $env_sizes (i32.const 16) (i32.const 20)))
            (drop (call $env (i32.const 1024) (i32.const 0x100000)))
            (call $print (i32.const 0x100000) (i32.load (i32.const 20)))))"#,
        length_and_colon = length + 1
    );
    wat::parse_str(wat).unwrap()
}

pub(crate) fn spec() -> RunSpec {
    RunSpec {
        argv: vec!["m".into(), "two words".into()],
        env: vec![("A".into(), "1".into())],
        ..RunSpec::default()
    }
}

/// The run ended with this code, and its message has these words.
pub(crate) fn refused(status: &ExitStatus, code: u8, words: &[&str]) {
    let message = status.message.clone().unwrap_or_default();
    assert_eq!(status.code, code, "{message}");
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}
