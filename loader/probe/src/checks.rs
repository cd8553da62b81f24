//! What must be true when a kernel is entered.

use core::fmt::Write;
use core::hint::black_box;

use hermit_entry::boot_info::{BootInfo, PlatformInfo};
use hermit_page_tables::x86_64::Entries;
use hermit_page_tables::{Format as _, Mapping};

use crate::machine::{self, Console, KERNEL_STACK_SIZE};

static CONSTANT: [u64; 4] = [1, 2, 3, 4];
static mut INITIALISED: u64 = 0x5a5a;
static mut ZERO: [u8; 0x2345] = [0; 0x2345];
/// Relocations, in data that is read-only once they are applied.
static FUNCTIONS: [fn() -> u64; 2] = [|| 17, || 25];

type Verdict = Result<(), &'static str>;

/// Checks all, and prints what tests want to know.
pub(crate) fn run(info: &BootInfo, cpu: u32, stack: u64) -> Verdict {
    processor(cpu)?;
    own_image(info)?;
    page_rights(stack)?;
    let tree = info.hardware_info.device_tree.ok_or("no device tree")?.get();
    let fdt = machine::device_tree(tree).ok_or("not a device tree")?;
    require(matches!(info.platform_info, PlatformInfo::Fdt), "platform")?;
    require(
        info.hardware_info
            .serial_port_base
            .is_some_and(|port| port.get() == 0x3f8),
        "serial port",
    )?;

    let image = &info.load_info.kernel_image_addr_range;
    let _ = writeln!(Console, "image={:#x}..{:#x}", image.start, image.end);
    let _ = writeln!(Console, "compatible={}", fdt.root().compatible().first());
    let _ = writeln!(Console, "bootargs={:?}", fdt.chosen().bootargs());
    let module = module(&fdt)?;

    let taken = [
        (image.start, image.end),
        (stack - 4096, stack + KERNEL_STACK_SIZE),
        (tree, tree + fdt.total_size() as u64),
        module.unwrap_or_default(),
    ];
    let mut total = 0;
    for node in fdt.find_all_nodes("/memory") {
        let region = node
            .reg()
            .and_then(|mut reg| reg.next())
            .ok_or("a memory node without reg")?;
        let start = region.starting_address.addr() as u64;
        let end = start + region.size.ok_or("a memory node without a size")? as u64;
        let _ = writeln!(Console, "memory={start:#x}..{end:#x}");
        require(
            start < end && start.is_multiple_of(4096) && end.is_multiple_of(4096),
            "memory that is not pages",
        )?;
        require(
            !taken.iter().any(|&(from, to)| start < to && from < end),
            "memory that is in use",
        )?;
        require(
            !any_table(&|table| start <= table && table < end),
            "memory with page tables in it",
        )?;
        for address in [start, end - 1] {
            let page = find_page(address).ok_or("memory that is not mapped")?;
            require(
                page.rights.write && !page.rights.execute,
                "memory with wrong rights",
            )?;
            require(page.size <= 2 << 20, "memory in huge pages")?;
        }
        total += end - start;
    }
    let _ = writeln!(Console, "total={total}");
    require(
        info.hardware_info.phys_addr_range.start >= image.end,
        "start of memory",
    )
}

fn require(condition: bool, what: &'static str) -> Verdict {
    if condition { Ok(()) } else { Err(what) }
}

fn processor(cpu: u32) -> Verdict {
    let [cr0, _, cr4, efer] = machine::control_registers();
    require(cpu == 0, "not the first processor")?;
    require(
        cr0 & (1 << 31 | 1 << 16 | 1) == 1 << 31 | 1 << 16 | 1,
        "CR0: paging, write protection",
    )?;
    require(cr4 & 1 << 5 != 0, "CR4: PAE")?;
    require(
        efer & (1 << 11 | 1 << 10) == 1 << 11 | 1 << 10,
        "EFER: no-execute, long mode",
    )
}

fn own_image(info: &BootInfo) -> Verdict {
    require(
        black_box(&FUNCTIONS)
            .iter()
            .map(|function| function())
            .sum::<u64>()
            == 42,
        "relocations",
    )?;
    require(black_box(&CONSTANT).iter().sum::<u64>() == 10, "constants")?;
    let initialised = machine::bytes(&raw const INITIALISED as u64, 8);
    require(initialised == 0x5a5a_u64.to_le_bytes(), "initialised data")?;
    let zero = machine::bytes(&raw const ZERO as u64, 0x2345);
    require(zero.iter().all(|&byte| byte == 0), "data that must be zero")?;
    let image = &info.load_info.kernel_image_addr_range;
    require(
        image.contains(&(&raw const ZERO as u64)) && image.contains(&(&raw const CONSTANT as u64)),
        "image",
    )?;
    let tls = info.load_info.tls_info.ok_or("no thread-local storage")?;
    require((tls.filesz, tls.memsz) == (8, 24), "size of thread-local storage")?;
    let initial = machine::bytes(tls.start, tls.filesz);
    require(
        initial == 0x1122_3344_5566_7788_u64.to_le_bytes(),
        "thread-local storage",
    )
}

fn page_rights(stack: u64) -> Verdict {
    let mut verdict = Ok(());
    each_page(&mut |page| {
        if page.rights.write && page.rights.execute {
            verdict = Err("a page both writable and executable");
        }
        if page.address != page.target {
            verdict = Err("a page not at its own address");
        }
        if page.size > 2 << 20 {
            verdict = Err("a huge page");
        }
    });
    verdict?;
    let rights = |address: u64| find_page(address).map(|page| (page.rights.write, page.rights.execute));
    require(
        rights(run as *const () as u64) == Some((false, true)),
        "rights of code",
    )?;
    require(
        rights(&raw const CONSTANT as u64) == Some((false, false)),
        "rights of constants",
    )?;
    require(
        rights(&raw const FUNCTIONS as u64) == Some((false, false)),
        "rights of relocated constants",
    )?;
    require(
        rights(&raw const INITIALISED as u64) == Some((true, false)),
        "rights of data",
    )?;
    require(
        rights(&raw const ZERO as u64) == Some((true, false)),
        "rights of zeroed data",
    )?;
    require(rights(stack) == Some((true, false)), "rights of the stack")?;
    require(
        rights(stack + KERNEL_STACK_SIZE - 1) == Some((true, false)),
        "rights of the stack's end",
    )?;
    require(rights(stack - 1).is_none(), "no guard page below the stack")?;
    require(
        rights(stack + KERNEL_STACK_SIZE).is_none(),
        "no guard page above the stack",
    )?;
    require(rights(0).is_none() && rights(4095).is_none(), "page 0 is mapped")?;
    require(
        rights(0xfee0_0000) == Some((true, false)),
        "the local APIC is not mapped",
    )
}

fn module(fdt: &fdt::Fdt<'_>) -> Result<Option<(u64, u64)>, &'static str> {
    let chosen = fdt.find_node("/chosen").ok_or("no /chosen")?;
    let cell = |name| {
        let value = chosen.property(name)?.value;
        value.try_into().ok().map(u64::from_be_bytes)
    };
    let Some(start) = cell("linux,initrd-start") else {
        let _ = writeln!(Console, "module=none");
        return Ok(None);
    };
    let end = cell("linux,initrd-end").ok_or("a module without an end")?;
    let mut sum = 0_u64;
    for &byte in machine::bytes(start, end - start) {
        sum = sum.wrapping_mul(31).wrapping_add(u64::from(byte));
    }
    let _ = writeln!(Console, "module={} sum={sum:#x}", end - start);
    Ok(Some((start, end)))
}

/// Visits all that is mapped.
fn each_page(visit: &mut dyn FnMut(Mapping)) {
    walk(&mut |mapping| {
        if !mapping.is_table {
            visit(mapping);
        }
    });
}

fn any_table(wanted: &dyn Fn(u64) -> bool) -> bool {
    let mut found = wanted(root());
    walk(&mut |mapping| found |= mapping.is_table && wanted(mapping.target));
    found
}

fn find_page(address: u64) -> Option<Mapping> {
    let mut found = None;
    each_page(&mut |page| {
        if page.address <= address && address - page.address < page.size {
            found = Some(page);
        }
    });
    found
}

fn root() -> u64 {
    Entries::address(machine::control_registers()[1])
}

fn walk(visit: &mut dyn FnMut(Mapping)) {
    let mut read = |table, index: usize| machine::table(table).get(index).copied();
    // Every table can be read.
    let _ = hermit_page_tables::walk::<Entries>(root(), &mut read, visit);
}
