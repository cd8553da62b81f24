//! From what the hypervisor hands over to what the kernel is handed.
//!
//! Layer: the same for all architectures; uses [`crate::arch::current`] and [`crate::memory`].

use core::num::NonZeroU64;

use firmware_tables::fdt::{self, Blob, BootModule, Property, Tree};
use hermit_entry::boot_info::{
    BootInfo, HardwareInfo, LoadInfo, PlatformInfo, RawBootInfo, SerialPortBase, TlsInfo,
};

use crate::arch::current::paging::AddressSpace;
use crate::arch::current::{COMPATIBLE, DEVICES, TARGET};
use crate::failure::Failure;
use crate::firmware::{DeviceTree, Firmware};
use crate::memory::{Physical, REACH};
use crate::paging::{Rights, Tables};
use hermit_loader_core::elf::{Image, Source};
use hermit_loader_core::placement::{Layout, MAX_KERNEL_RANGES, MIN_KERNEL_MEMORY};
use hermit_loader_core::ranges::{LARGE_PAGE, Memory, PAGE, Span, align_up};

/// Where the loader's own parts lie.
#[derive(Clone, Copy, Debug)]
pub struct Loader {
    /// All of it, without the embedded application.
    pub whole: Span,
    /// Its code.
    pub text: Span,
    /// Its constants.
    pub constants: Span,
    /// Pages that catch what leaves a stack.
    pub guards: [Span; 3],
    /// The embedded application's file, if there is one.
    pub application: Option<Span>,
    /// The payload that has been put into the loader's file, if there is one.
    pub payload: Option<Span>,
}

/// What the kernel is entered with.
#[derive(Debug)]
pub struct Handover {
    /// Where it starts.
    pub entry: u64,
    /// Where the application lies.
    pub image: Span,
    /// What it is told.
    pub boot_info: RawBootInfo,
}

/// The page that a null pointer points into; nothing is mapped there.
const NULL: Span = Span { start: 0, end: PAGE };

/// Whether hypervisors have a device tree here; otherwise all that is for theirs need not be in the loader.
const HAS_DEVICE_TREE: bool = !DEVICES.is_empty();

/// Loads the application and builds all that its kernel needs. `space` maps what `memory` reaches and becomes the
/// kernel's address space.
pub fn boot(
    memory: &mut Physical,
    firmware: &Firmware,
    loader: &Loader,
    space: &mut AddressSpace<'_>,
) -> Result<Handover, Failure> {
    let embedded = loader.application.is_some();
    let file = loader
        .application
        .or(firmware.module)
        .ok_or(Failure::NoApplication)?;
    let module = module(firmware, loader)?;
    let layout = Layout {
        ram: firmware.ram.clone(),
        reach: REACH,
        loader: loader.whole,
        file,
        module: module.unwrap_or_default(),
        command_line: firmware.command_line.unwrap_or_default(),
    };

    let (image, place) = load(memory, &layout, embedded)?;

    let fine = [NULL, loader.whole, place];
    let table_bytes = AddressSpace::tables_needed(layout.ram.spans(), &fine) * PAGE;
    let arguments_len = usize::try_from(layout.command_line.len()).unwrap_or(usize::MAX);
    let tree_bytes = match &firmware.device_tree {
        Some(theirs) if HAS_DEVICE_TREE => fdt::extract_bound(&blob(memory, theirs)?, 1) as u64,
        _ => fdt::size_bound(MAX_KERNEL_RANGES, arguments_len) as u64,
    };
    let size = table_bytes + tree_bytes;
    let no_room = Failure::NoRoom {
        what: "page tables and device tree",
        size,
        ram: layout.ram.total(),
    };
    let tables = layout.place_tables(place, size).ok_or(no_room)?;
    let (page_tables, tree) = tables.split_at(table_bytes).ok_or(no_room)?;

    let range = kernel_range(firmware, place, tables.end);
    let kernel_memory = match firmware.device_tree {
        Some(_) => layout.kernel_memory_in(range.memory),
        None => layout.kernel_memory(place, tables),
    };
    if kernel_memory.total() < MIN_KERNEL_MEMORY {
        // The place of the hypervisor's tree is memory too.
        let theirs = firmware.device_tree.as_ref();
        return Err(Failure::TooLittleMemory {
            left: kernel_memory.total(),
            needed: MIN_KERNEL_MEMORY,
            ram: theirs.map_or(&layout.ram, |tree| &tree.memory).total(),
        });
    }

    let module = match (module, loader.payload) {
        (Some(packed), Some(_)) => BootModule::At(packed),
        (Some(_), None) => BootModule::Theirs,
        (None, _) => BootModule::Hidden,
    };
    match &firmware.device_tree {
        Some(theirs) if HAS_DEVICE_TREE => {
            check_arguments(memory, firmware)?;
            extract_tree(memory, theirs, module, layout.module, tree)?;
        }
        _ => write_tree(memory, firmware, &kernel_memory, layout.module, tree)?,
    }
    let page_tables = Tables {
        address: page_tables.start,
        tables: memory.take_tables(page_tables).ok_or(no_room)?,
    };
    space.extend(page_tables);
    map(space, &layout, loader, &image, place).ok_or(no_room)?;

    Ok(Handover {
        entry: place.start + image.entry,
        image: place,
        boot_info: boot_info(firmware, &image, place, &range, tree),
    })
}

/// What the application is handed: the payload that is in the loader's file, or the hypervisor's boot module, unless
/// that is the application.
fn module(firmware: &Firmware, loader: &Loader) -> Result<Option<Span>, Failure> {
    let theirs = firmware.module.filter(|_| loader.application.is_some());
    match (loader.payload, theirs) {
        (Some(_), Some(_)) => Err(Failure::TwoPayloads),
        (Some(packed), None) if !firmware.ram.contains(packed) => Err(Failure::PayloadBeyondMemory {
            payload: packed,
            ram: firmware.ram.total(),
        }),
        (packed, theirs) => Ok(packed.or(theirs)),
    }
}

/// Loads the application; returns it and where it lies.
fn load(memory: &mut Physical, layout: &Layout, embedded: bool) -> Result<(Image, Span), Failure> {
    let wrong = |error| Failure::Application {
        embedded,
        file: layout.file,
        error,
    };
    let file = memory.bytes(layout.file).ok_or(Failure::BadModule)?;
    let image = Image::parse(file, TARGET).map_err(wrong)?;
    let no_room = Failure::NoRoom {
        what: "the application",
        size: image.size,
        ram: layout.ram.total(),
    };
    let place = layout
        .place_image(image.size, image.fixed, embedded && image.loads_in_place())
        .ok_or(no_room)?;

    if place.start == layout.file.start {
        image
            .load(memory.bytes_mut(place).ok_or(no_room)?, Source::InPlace)
            .map_err(wrong)?;
    } else {
        let (file, target) = memory.bytes_pair(layout.file, place).ok_or(no_room)?;
        image.load(target, Source::File(file)).map_err(wrong)?;
    }
    if image.fixed.is_none() {
        image
            .relocate(memory.bytes_mut(place).ok_or(no_room)?, place.start)
            .map_err(wrong)?;
    }
    Ok((image, place))
}

/// Checks the command line in the hypervisor's device tree, which the kernel takes to be text.
fn check_arguments(memory: &Physical, firmware: &Firmware) -> Result<(), Failure> {
    let text = memory
        .bytes(firmware.command_line.unwrap_or_default())
        .ok_or(Failure::BadCommandLine)?;
    core::str::from_utf8(text)
        .map(|_| ())
        .map_err(|_| Failure::CommandLineNotText)
}

/// The hypervisor's device tree.
fn blob<'a>(memory: &'a Physical, tree: &DeviceTree) -> Result<Blob<'a>, Failure> {
    memory
        .bytes(tree.place)
        .and_then(Blob::new)
        .ok_or(Failure::NoDeviceTree)
}

/// Writes what the kernel and the application want to know of the hypervisor's device tree. The boot module that it names
/// is hidden where it is the application, and not for it. `reserved` is where the module lies, or empty.
fn extract_tree(
    memory: &mut Physical,
    theirs: &DeviceTree,
    module: BootModule,
    reserved: Span,
    place: Span,
) -> Result<(), Failure> {
    let (bytes, buffer) = memory
        .bytes_pair(theirs.place, place)
        .ok_or(Failure::NoDeviceTree)?;
    let tree = Blob::new(bytes).ok_or(Failure::NoDeviceTree)?;
    let wanted = |models: &Property<'_>| DEVICES.iter().any(|model| models.lists(model));
    let reserved = Some(reserved).filter(|span| !span.is_empty());
    fdt::extract(buffer, &tree, reserved.as_slice(), module, wanted)
        .map(|_| ())
        .ok_or(Failure::NoDeviceTree)
}

fn write_tree(
    memory: &mut Physical,
    firmware: &Firmware,
    kernel_memory: &Memory,
    module: Span,
    place: Span,
) -> Result<(), Failure> {
    let command_line = firmware.command_line.unwrap_or_default();
    let (text, buffer) = memory
        .bytes_pair(command_line, place)
        .ok_or(Failure::BadCommandLine)?;
    let text = core::str::from_utf8(text).map_err(|_| Failure::CommandLineNotText)?;
    let tree = Tree {
        compatible: COMPATIBLE,
        boot_arguments: firmware.command_line.map(|_| text),
        boot_module: Some(module).filter(|span| !span.is_empty()),
        memory: kernel_memory.spans(),
        rsdp: firmware.rsdp,
    };
    fdt::write(buffer, &tree)
        .map(|_| ())
        .ok_or(Failure::BadCommandLine)
}

/// Completes the page tables: all memory, and no page both writable and executable.
fn map(
    space: &mut AddressSpace<'_>,
    layout: &Layout,
    loader: &Loader,
    image: &Image,
    place: Span,
) -> Option<()> {
    const DATA: Rights = Rights {
        write: true,
        execute: false,
    };
    for &span in layout.ram.spans() {
        space.map_high(span)?;
    }
    // The large page that is executable so far. This program's code never ceases to be: the tables may be in use.
    let large = loader.text.grow_to(LARGE_PAGE)?;
    space.protect(
        loader.text,
        Some(Rights {
            write: false,
            execute: true,
        }),
    )?;
    space.protect(Span::new(large.start, loader.text.start)?, Some(DATA))?;
    space.protect(Span::new(loader.text.end, large.end)?, Some(DATA))?;
    space.protect(loader.constants, Some(Rights::default()))?;
    for nothing in loader.guards.into_iter().chain([NULL]) {
        space.protect(nothing, None)?;
    }
    for segment in image.segments() {
        let rights = Rights {
            write: segment.write,
            execute: segment.execute,
        };
        space.protect(segment.memory.moved(place.start)?, Some(rights))?;
    }
    if let Some(relro) = image.relro {
        space.protect(relro.moved(place.start)?, Some(Rights::default()))?;
    }
    Some(())
}

/// What the kernel is told of its image and of memory.
struct KernelRange {
    /// Where its image ends.
    image_end: u64,
    /// The one range of memory that it is told of besides what the device tree says.
    memory: Span,
}

/// Where the kernel is told of one range of memory, what lies above the application and is not free counts as part of
/// the application.
fn kernel_range(firmware: &Firmware, place: Span, tables_end: u64) -> KernelRange {
    let image_end = match firmware.device_tree {
        Some(_) => place.end.max(tables_end),
        None => place.end,
    };
    let first = align_up(image_end, PAGE).unwrap_or(image_end);
    let last = match &firmware.device_tree {
        // All of it up to where it ends or something else begins.
        Some(theirs) => theirs.memory.spans().iter().find(|span| span.contains(place)),
        None => firmware.ram.spans().last(),
    };
    let last = last.map_or(first, |span| span.end.max(first));
    KernelRange {
        image_end,
        memory: Span {
            start: first,
            end: last,
        },
    }
}

fn boot_info(
    firmware: &Firmware,
    image: &Image,
    place: Span,
    range: &KernelRange,
    tree: Span,
) -> RawBootInfo {
    let serial_port = firmware
        .serial_port
        .and_then(|port| SerialPortBase::try_from(NonZeroU64::new(port)?).ok());
    let info = BootInfo {
        hardware_info: HardwareInfo {
            phys_addr_range: range.memory.start..range.memory.end,
            serial_port_base: serial_port,
            device_tree: NonZeroU64::new(tree.start),
        },
        load_info: LoadInfo {
            kernel_image_addr_range: place.start..range.image_end,
            tls_info: image.tls.map(|tls| TlsInfo {
                start: place.start + tls.start,
                filesz: tls.file_size,
                memsz: tls.memory_size,
                align: tls.align,
            }),
        },
        platform_info: PlatformInfo::Fdt,
    };
    info.into()
}
