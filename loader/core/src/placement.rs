//! Decides where in memory things go: the application, the loader's tables, and what is left for the kernel.
//!
//! Layer: pure. The kernel's rules, as read in hermit-kernel 0.11.0 with patch 0040, `src/arch/*/mm/physicalmem.rs`:
//! - A memory range that starts at or below the image's start is used from the image's end on, if there is anything
//!   left of it. So the application goes low: what lies below it is lost.
//! - Any other is used as it is.

use crate::ranges::{LARGE_PAGE, Memory, PAGE, Span, align_up};

/// Memory ranges that the kernel is told of. Its list has 16 entries before it has a heap.
pub const MAX_KERNEL_RANGES: usize = 8;

/// The least memory that kernel and application start with; with less they panic. Measured: `plain/least-memory` fails
/// when they have grown out of it. The first task's stack alone takes 1 MiB.
pub const MIN_KERNEL_MEMORY: u64 = 15 << 17;

/// What lies in memory before anything is placed.
#[derive(Clone, Debug)]
pub struct Layout {
    /// All memory there is.
    pub ram: Memory,
    /// Where the memory ends that the loader can write to.
    pub reach: u64,
    /// The loader itself, without an embedded application.
    pub loader: Span,
    /// The application's file.
    pub file: Span,
    /// The boot module that is handed to the application and stays where it is; empty if there is none.
    pub module: Span,
    /// The command line, read until the device tree is written.
    pub command_line: Span,
}

impl Layout {
    /// Where an image of `size` bytes goes: to its `fixed` place if it has one, else to a multiple of 2 MiB above the
    /// loader.
    ///
    /// With `in_place`, that may be the file's own place. [`None`] if there is no room.
    pub fn place_image(&self, size: u64, fixed: Option<u64>, in_place: bool) -> Option<Span> {
        let mut free = self.free();
        let own = self.file.start;
        if in_place && fixed.unwrap_or(own) == own && own.is_multiple_of(LARGE_PAGE) {
            let needed = Span::from_len(own, size.max(self.file.len()))?;
            if free.contains(needed) {
                return Span::from_len(own, size);
            }
        }
        free.remove(self.file);
        match fixed {
            Some(start) => Span::from_len(start, size).filter(|&span| free.contains(span)),
            None => free.find(size, LARGE_PAGE, self.loader.end),
        }
    }

    /// Room for `size` bytes of tables beside the loaded `image`, page-aligned. The file is no longer needed.
    pub fn place_tables(&self, image: Span, size: u64) -> Option<Span> {
        let mut free = self.free();
        free.remove(image);
        free.find(align_up(size, PAGE)?, PAGE, self.loader.end)
    }

    /// What the kernel may use: whole pages above the image that hold nothing of ours.
    pub fn kernel_memory(&self, image: Span, tables: Span) -> Memory {
        let mut memory = self.ram.clone();
        memory.remove(Span {
            start: 0,
            end: image.end.max(self.loader.end),
        });
        memory.remove(tables);
        memory.remove(self.module);
        memory.shrink_to(PAGE);
        memory.keep_largest(MAX_KERNEL_RANGES);
        memory
    }

    /// What the kernel may use where it is told of one `range` of memory: whole pages that hold nothing of the boot
    /// module.
    pub fn kernel_memory_in(&self, range: Span) -> Memory {
        let mut memory = Memory::new();
        memory.insert(range);
        memory.remove(self.module.grow_to(PAGE).unwrap_or(self.module));
        memory.shrink_to(PAGE);
        memory
    }

    fn free(&self) -> Memory {
        let mut free = self.ram.clone();
        let beyond = Span::new(self.reach, u64::MAX).unwrap_or_default();
        for taken in [self.loader, self.module, self.command_line, beyond] {
            free.remove(taken);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn span(start: u64, end: u64) -> Span {
        Span::new(start, end).unwrap()
    }

    /// As QEMU's `pc` lays out `size` bytes of memory with a boot module of `module` bytes.
    fn layout(size: u64, module: u64) -> Layout {
        let mut ram = Memory::new();
        ram.insert(span(0, 0x9_fc00));
        let low_end = size.min(3 << 30) - 0x2_0000;
        ram.insert(span(MIB, low_end));
        if size > 3 << 30 {
            ram.insert(span(4 << 30, (1 << 30) + size));
        }
        let module_start = (low_end - 1 - module) & !(PAGE - 1);
        Layout {
            ram,
            reach: 4 << 30,
            loader: span(MIB, MIB + 0x1_6000),
            file: Span::default(),
            module: span(module_start, module_start + module),
            command_line: span(0x2_0000, 0x2_0040),
        }
    }

    fn check(layout: &Layout, image: Span, tables: Span) -> Memory {
        let memory = layout.kernel_memory(image, tables);
        let parts = [layout.loader, layout.module, image, tables];
        for (index, part) in parts.iter().enumerate() {
            assert!(layout.ram.contains(*part), "{part:x?}");
            for other in &parts[index + 1..] {
                assert!(!part.overlaps(*other) || part.is_empty(), "{part:x?} {other:x?}");
            }
            for own in memory.spans() {
                assert!(!own.overlaps(*part) || part.is_empty(), "{own:x?} {part:x?}");
            }
        }
        for own in memory.spans() {
            assert_eq!(*own, own.shrink_to(PAGE));
            assert!(
                own.start >= image.end,
                "the kernel would take {own:x?} to start later"
            );
        }
        memory
    }

    #[test]
    fn any_memory_size_and_module() {
        for size in [16 * MIB, 64 * MIB, 256 * MIB, 3 << 30, 5 << 30, 6 << 30] {
            for module in [0, 1, 181, 4096, 7 * MIB + 3] {
                let layout = layout(size, module);
                let image = layout.place_image(3 * MIB / 2, None, false).unwrap();
                assert_eq!(image.start, 2 * MIB);
                let tables = layout.place_tables(image, 0x5001).unwrap();
                assert_eq!(tables, span(0x11_6000, 0x11_c000), "in the hole below the image");
                let memory = check(&layout, image, tables);
                let expected = layout.ram.total() - 3 * MIB / 2 - 2 * MIB - module - 0x9_fc00 + MIB;
                assert!(memory.total() <= expected && memory.total() + 3 * PAGE > expected);
            }
        }
    }

    #[test]
    fn a_module_in_the_way_moves_the_image() {
        let mut layout = layout(64 * MIB, 0);
        layout.module = span(3 * MIB, 23 * MIB);
        let image = layout.place_image(3 * MIB / 2, None, false).unwrap();
        assert_eq!(image.start, 24 * MIB);
        let tables = layout.place_tables(image, MIB).unwrap();
        assert_eq!(
            tables,
            span(MIB + 0x1_6000, 2 * MIB + 0x1_6000),
            "where the kernel has no use for it"
        );
        check(&layout, image, tables);
        let tables = layout.place_tables(image, 2 * MIB).unwrap();
        assert_eq!(tables.start, 51 * MIB / 2, "behind the image");
        check(&layout, image, tables);
        // A module where the tables would go.
        layout.module = span(MIB + 0x1_6000, MIB + 0x1_7001);
        let image = layout.place_image(3 * MIB / 2, None, false).unwrap();
        let tables = layout.place_tables(image, PAGE).unwrap();
        assert_eq!(tables.start, MIB + 0x1_8000);
        check(&layout, image, tables);
    }

    #[test]
    fn an_embedded_application_stays_if_there_is_room_for_all_of_it() {
        let mut layout = layout(64 * MIB, MIB);
        layout.file = span(2 * MIB, 3 * MIB);
        assert_eq!(
            layout.place_image(3 * MIB / 2, None, true),
            Some(span(2 * MIB, 7 * MIB / 2))
        );
        // Not where its file was built to be moved: beside itself.
        assert_eq!(
            layout.place_image(3 * MIB / 2, None, false),
            Some(span(4 * MIB, 11 * MIB / 2))
        );
        // Its zeroed part would hit the module.
        layout.module = span(3 * MIB, 13 * MIB / 4);
        assert_eq!(
            layout.place_image(3 * MIB / 2, None, true).unwrap().start,
            4 * MIB
        );
        // Prelinked, it cannot go elsewhere.
        assert_eq!(layout.place_image(3 * MIB / 2, Some(2 * MIB), true), None);
        layout.module = Span::default();
        assert_eq!(
            layout.place_image(MIB, Some(2 * MIB), true),
            Some(span(2 * MIB, 3 * MIB))
        );
        assert_eq!(
            layout.place_image(MIB, Some(2 * MIB), false),
            None,
            "on its own file"
        );
        assert_eq!(
            layout.place_image(MIB, Some(5 * MIB), true),
            Some(span(5 * MIB, 6 * MIB))
        );
        layout.file.start += PAGE;
        assert_eq!(layout.place_image(MIB, None, true).unwrap().start, 4 * MIB);
    }

    #[test]
    fn the_file_of_a_plain_loader_is_not_overwritten_but_its_memory_is_free_later() {
        let mut layout = layout(8 * MIB, 0);
        layout.file = span(5 * MIB, 7 * MIB);
        let image = layout.place_image(2 * MIB + 1, None, false).unwrap();
        assert_eq!(image, span(2 * MIB, 4 * MIB + 1));
        assert_eq!(layout.place_image(3 * MIB + 1, None, false), None);
        let tables = layout.place_tables(image, PAGE).unwrap();
        let memory = layout.kernel_memory(image, tables);
        assert_eq!(memory.spans(), [span(4 * MIB + PAGE, 8 * MIB - 0x2_0000)]);
    }

    #[test]
    fn the_command_line_is_kept_until_it_is_copied() {
        let mut layout = layout(64 * MIB, 0);
        layout.command_line = span(2 * MIB + 5, 2 * MIB + 9);
        let image = layout.place_image(MIB, None, false).unwrap();
        assert_eq!(image.start, 4 * MIB);
        let tables = layout.place_tables(image, MIB).unwrap();
        assert!(!tables.overlaps(layout.command_line));
        assert!(layout.kernel_memory(image, tables).total() > 0);
    }

    #[test]
    fn of_one_range_the_module_s_pages_are_left_out() {
        let mut layout = layout(64 * MIB, 0);
        let range = span(8 * MIB, 64 * MIB);
        assert_eq!(layout.kernel_memory_in(range).spans(), [range]);
        layout.module = span(16 * MIB + 1, 17 * MIB - 1);
        assert_eq!(
            layout.kernel_memory_in(range).spans(),
            [span(8 * MIB, 16 * MIB), span(17 * MIB, 64 * MIB)]
        );
    }

    #[test]
    fn no_room_is_said() {
        assert_eq!(layout(2 * MIB, 0).place_image(MIB, None, false), None);
        assert_eq!(layout(64 * MIB, 0).place_image(u64::MAX, None, false), None);
        let mut high = layout(6 << 30, 0);
        high.ram.remove(span(2 * MIB, 3 << 30));
        assert_eq!(
            high.place_image(MIB, None, false),
            None,
            "not where the loader cannot write"
        );
        let empty = Layout {
            ram: Memory::new(),
            ..layout(64 * MIB, 0)
        };
        assert_eq!(empty.place_image(1, None, true), None);
        assert_eq!(empty.place_tables(span(0, 1), 1), None);
        assert_eq!(empty.kernel_memory(span(0, 1), span(1, 2)).total(), 0);
    }
}
