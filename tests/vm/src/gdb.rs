//! A machine stopped and looked into: the debugger's side of QEMU's `-gdb`.
//!
//! Spec: "Debugging with GDB", appendix E (the remote serial protocol), and QEMU's own packets. Layer: host tests. Only
//! what these tests ask for: registers by name, physical memory, breakpoints, stop and go on.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How long an answer may take: far longer than any does.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes of memory in one packet, which QEMU bounds.
const CHUNK: usize = 2048;

/// A machine, stopped from the connection on.
#[derive(Debug)]
pub struct Debugger {
    stream: UnixStream,
    /// The number of each register.
    numbers: BTreeMap<String, usize>,
}

impl Debugger {
    /// Connects to QEMU, which may still be starting.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn connect(socket: &Path) -> Result<Self> {
        let begun = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if begun.elapsed() > PATIENCE => {
                    return Err(error).context("QEMU opens no socket for a debugger");
                }
                Err(_) => sleep(Duration::from_millis(10)),
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut debugger = Self {
            stream,
            numbers: BTreeMap::new(),
        };
        debugger.ask("qSupported:")?;
        debugger.numbers = debugger.describe()?;
        // `m` and `M` mean physical addresses.
        debugger.order("Qqemu.PhyMemMode:1")?;
        Ok(debugger)
    }

    /// A register's value; what is longer than 8 bytes is cut.
    ///
    /// # Errors
    /// If this processor has none of that name.
    pub fn register(&mut self, name: &str) -> Result<u64> {
        let number = self.number(name)?;
        let value = bytes(&self.ask(&format!("p{number:x}"))?).with_context(|| name.to_owned())?;
        let mut all = [0; 8];
        for (to, from) in all.iter_mut().zip(value) {
            *to = from;
        }
        Ok(u64::from_le_bytes(all))
    }

    /// Sets a register of 8 bytes.
    ///
    /// # Errors
    /// As [`Self::register`].
    pub fn set_register(&mut self, name: &str, value: u64) -> Result<()> {
        let number = self.number(name)?;
        self.order(&format!("P{number:x}={}", hex(&value.to_le_bytes())))
    }

    /// Physical memory.
    ///
    /// # Errors
    /// If none is there.
    pub fn memory(&mut self, address: u64, length: usize) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < length {
            let size = (length - all.len()).min(CHUNK);
            let answer = self.ask(&format!("m{:x},{size:x}", address + all.len() as u64))?;
            let part = bytes(&answer).with_context(|| format!("physical memory at {address:#x}"))?;
            ensure!(part.len() == size, "{} bytes instead of {size}", part.len());
            all.extend(part);
        }
        Ok(all)
    }

    /// Writes to physical memory, whatever the rights of pages.
    ///
    /// # Errors
    /// If none is there.
    pub fn set_memory(&mut self, address: u64, data: &[u8]) -> Result<()> {
        self.order(&format!("M{address:x},{:x}:{}", data.len(), hex(data)))
    }

    /// What QEMU's monitor answers to a command.
    ///
    /// # Errors
    /// If it is not text.
    pub fn monitor(&mut self, command: &str) -> Result<String> {
        self.send(&format!("qRcmd,{}", hex(command.as_bytes())))?;
        let mut text = Vec::new();
        loop {
            let answer = self.receive()?;
            match answer.strip_prefix('O') {
                Some(part) if answer != "OK" => text.extend(bytes(part)?),
                _ if answer == "OK" => return String::from_utf8(text).context("the monitor's answer"),
                _ => bail!("the monitor answers {answer:?} to {command:?}"),
            }
        }
    }

    /// Stops whenever the instruction at that virtual address is reached.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub fn set_breakpoint(&mut self, address: u64) -> Result<()> {
        self.order(&format!("Z0,{address:x},1"))
    }

    /// The opposite of [`Self::set_breakpoint`].
    ///
    /// # Errors
    /// If QEMU refuses.
    pub fn remove_breakpoint(&mut self, address: u64) -> Result<()> {
        self.order(&format!("z0,{address:x},1"))
    }

    /// Lets the machine go on.
    ///
    /// # Errors
    /// If QEMU is gone.
    pub fn resume(&mut self) -> Result<()> {
        self.send("c")
    }

    /// Lets one instruction be executed.
    ///
    /// # Errors
    /// If QEMU is gone.
    pub fn step(&mut self) -> Result<()> {
        self.send("s")?;
        self.wait_for_stop()
    }

    /// Stops the machine where it is.
    ///
    /// # Errors
    /// If QEMU is gone.
    pub fn stop(&mut self) -> Result<()> {
        self.stream.write_all(&[3])?;
        self.wait_for_stop()
    }

    /// Waits until the machine stops by itself: at a breakpoint or, if QEMU does not end then, at its end.
    ///
    /// # Errors
    /// If it does neither.
    pub fn wait_for_stop(&mut self) -> Result<()> {
        let answer = self.receive()?;
        ensure!(answer.starts_with('T'), "instead of stopping: {answer:?}");
        Ok(())
    }

    fn number(&self, name: &str) -> Result<usize> {
        let number = self.numbers.get(name).copied();
        number.with_context(|| format!("no register is called {name}"))
    }

    /// The number of each register, from QEMU's description of them.
    fn describe(&mut self) -> Result<BTreeMap<String, usize>> {
        let target = self.file("target.xml")?;
        let mut numbers = BTreeMap::new();
        let mut next = 0;
        for include in target.split("<xi:include").skip(1) {
            let name = attribute(include, "href").context("an include without a name")?;
            let feature = self.file(name)?;
            for register in feature.split("<reg ").skip(1) {
                let name = attribute(register, "name").context("a register without a name")?;
                if let Some(number) = attribute(register, "regnum") {
                    next = number.parse().context("a register's number")?;
                }
                numbers.insert(name.to_owned(), next);
                next += 1;
            }
        }
        Ok(numbers)
    }

    fn file(&mut self, name: &str) -> Result<String> {
        let mut all = String::new();
        loop {
            let answer = self.ask(&format!("qXfer:features:read:{name}:{:x},400", all.len()))?;
            let Some((last, part)) = answer.split_at_checked(1) else {
                bail!("no {name}");
            };
            all.push_str(part);
            match last {
                "l" => return Ok(all),
                "m" => {}
                _ => bail!("{name}: {answer:?}"),
            }
        }
    }

    /// Sends a packet whose answer is `OK`.
    fn order(&mut self, packet: &str) -> Result<()> {
        let answer = self.ask(packet)?;
        ensure!(answer == "OK", "QEMU answers {answer:?} to {packet:?}");
        Ok(())
    }

    fn ask(&mut self, packet: &str) -> Result<String> {
        self.send(packet)?;
        self.receive()
    }

    fn send(&mut self, packet: &str) -> Result<()> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        self.stream.write_all(format!("${packet}#{sum:02x}").as_bytes())?;
        Ok(())
    }

    fn receive(&mut self) -> Result<String> {
        // Acknowledgements come between packets.
        while self.byte()? != b'$' {}
        let mut packet = Vec::new();
        loop {
            match self.byte()? {
                b'#' => break,
                // The next one is disguised.
                b'}' => packet.push(self.byte()? ^ 0x20),
                byte => packet.push(byte),
            }
        }
        let _sum = [self.byte()?, self.byte()?];
        self.stream.write_all(b"+")?;
        String::from_utf8(packet).context("a packet that is not text")
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => bail!("QEMU has ended"),
            Ok(_) => Ok(byte[0]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => bail!("QEMU does not answer"),
            Err(error) => Err(error).context("QEMU's answer"),
        }
    }
}

impl Drop for Debugger {
    /// Ends QEMU, if it has not ended.
    fn drop(&mut self) {
        let _ = self.send("k");
    }
}

/// The value of an attribute of the tag that `text` begins in.
fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let tag = text.split('>').next()?;
    let (_, value) = tag.split_once(&format!("{name}=\""))?;
    value.split('"').next()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits; an error has an odd number of characters.
fn bytes(digits: &str) -> Result<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    ensure!(rest.is_empty() && !pairs.is_empty(), "QEMU answers {digits:?}");
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair)?, 16).map_err(Into::into);
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_those_of_the_first_tag() {
        let text = "name=\"TTBR0_EL1\" bitsize=\"64\" regnum=\"71\"/><reg name=\"b\" group=\"g\"/>";
        assert_eq!(attribute(text, "name"), Some("TTBR0_EL1"));
        assert_eq!(attribute(text, "regnum"), Some("71"));
        assert_eq!(attribute(text, "group"), None);
    }

    #[test]
    fn bytes_are_pairs_of_digits() {
        assert_eq!(bytes("00ff10").unwrap(), [0, 255, 16]);
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
        for wrong in ["", "E14", "zz"] {
            bytes(wrong).unwrap_err();
        }
    }
}
