//! The tables of each architecture, walked as the CPU does.

use super::*;
use crate::arch::{aarch64, riscv64, x86_64};

const MIB: u64 = 1 << 20;
const LOW_AT: u64 = 0x10_8000;
const MORE_AT: u64 = 0x11_6000;
const DATA: Option<Rights> = Some(super::DATA);
const CODE: Option<Rights> = Some(Rights {
    write: false,
    execute: true,
});

struct Fixture<F> {
    low: Vec<Table>,
    more: Vec<Table>,
    format: PhantomData<F>,
}

impl<F: Format> Fixture<F> {
    fn new(more: u64) -> Self {
        // As memory may be where more tables are placed.
        let dirty = Table([u64::MAX; ENTRIES]);
        Self {
            low: vec![Table::EMPTY; low_tables::<F>()],
            more: vec![dirty; usize::try_from(more).unwrap()],
            format: PhantomData,
        }
    }

    fn build(&mut self, build: impl FnOnce(&mut AddressSpace<'_, F>) -> Option<()>) -> Option<()> {
        let low = Tables {
            tables: &mut self.low,
            address: LOW_AT,
        };
        let mut space = AddressSpace::new(low, MIB);
        assert_eq!(space.root(), LOW_AT);
        space.extend(Tables {
            tables: &mut self.more,
            address: MORE_AT,
        });
        build(&mut space)
    }

    /// Walks the tables as the CPU does.
    fn translate(&self, address: u64) -> Option<(u64, Rights)> {
        let mut table = LOW_AT;
        let levels = [512 * GIB, GIB, LARGE_PAGE, PAGE];
        for (&size, level) in levels[4 - F::LEVELS..].iter().zip((0..F::LEVELS).rev()) {
            let tables = if table >= MORE_AT {
                (&self.more, MORE_AT)
            } else {
                (&self.low, LOW_AT)
            };
            let index = usize::try_from((table - tables.1) / PAGE).unwrap();
            let entry = tables.0[index].0[index_of(address, size)];
            if !F::is_present(entry) {
                return None;
            }
            let physical = F::address(entry) + address % size;
            if size == PAGE {
                return Some((physical, small_rights::<F>(entry, address - address % PAGE)));
            }
            if let Some(rights) = F::page_rights(entry, level) {
                assert!(size == LARGE_PAGE, "no huge pages");
                return Some((physical, rights));
            }
            table = F::address(entry);
        }
        unreachable!()
    }

    fn assert(&self, address: u64, rights: Option<Rights>) {
        assert_eq!(
            self.translate(address),
            rights.map(|rights| (address, rights)),
            "{address:#x}"
        );
    }
}

/// What may be done with a small page: its entry is one of four.
fn small_rights<F: Format>(entry: u64, address: u64) -> Rights {
    let mut all = [(true, true), (true, false), (false, true), (false, false)]
        .map(|(write, execute)| Rights { write, execute })
        .into_iter();
    all.find(|&rights| F::page(address, rights, false) == entry)
        .expect("a page's entry")
}

/// The same for all architectures.
macro_rules! for_each_format {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                checks::$name::<x86_64::paging::Entries>();
                checks::$name::<aarch64::paging::Entries>();
                checks::$name::<riscv64::paging::Entries>();
            }
        )*
    };
}

for_each_format! {
    the_low_4_gib_are_mapped_to_themselves
    parts_get_their_own_rights
    memory_above_4_gib
    all_the_memory_there_can_be
    too_few_tables_and_unmapped_memory_are_refused
}

mod checks {
    use super::*;

    pub(super) fn the_low_4_gib_are_mapped_to_themselves<F: Format>() {
        let mut tables = Fixture::<F>::new(0);
        tables.build(|_| Some(())).unwrap();
        tables.assert(
            0,
            Some(Rights {
                write: true,
                execute: true,
            }),
        );
        tables.assert(
            2 * MIB - 1,
            Some(Rights {
                write: true,
                execute: true,
            }),
        );
        for address in [2 * MIB, GIB - 1, GIB, 3 * GIB + 5, 0xfee0_0000, 4 * GIB - 1] {
            tables.assert(address, DATA);
        }
        tables.assert(4 * GIB, None);
    }

    pub(super) fn parts_get_their_own_rights<F: Format>() {
        let image = Span {
            start: 2 * MIB,
            end: 6 * MIB + 5,
        };
        let needed = AddressSpace::<F>::tables_needed(
            &[],
            &[
                Span {
                    start: 0,
                    end: LARGE_PAGE,
                },
                image,
            ],
        );
        assert_eq!(needed, 4);
        let mut tables = Fixture::<F>::new(needed);
        tables
            .build(|space| {
                space.protect(
                    Span {
                        start: 0,
                        end: 2 * MIB,
                    },
                    DATA,
                )?;
                space.protect(
                    Span {
                        start: MIB,
                        end: MIB + 1,
                    },
                    CODE,
                )?;
                space.protect(
                    Span {
                        start: MIB + PAGE,
                        end: MIB + 2 * PAGE,
                    },
                    None,
                )?;
                space.protect(
                    Span {
                        start: 2 * MIB,
                        end: 3 * MIB,
                    },
                    Some(Rights::default()),
                )?;
                space.protect(
                    Span {
                        start: 3 * MIB,
                        end: 6 * MIB + 5,
                    },
                    CODE,
                )
            })
            .unwrap();
        tables.assert(0, DATA);
        tables.assert(MIB - 1, DATA);
        tables.assert(MIB, CODE);
        tables.assert(MIB + PAGE - 1, CODE);
        tables.assert(MIB + PAGE, None);
        tables.assert(MIB + 2 * PAGE, DATA);
        tables.assert(2 * MIB, Some(Rights::default()));
        tables.assert(3 * MIB - 1, Some(Rights::default()));
        tables.assert(3 * MIB, CODE);
        tables.assert(4 * MIB, CODE);
        tables.assert(6 * MIB + 5, CODE);
        tables.assert(6 * MIB + PAGE, DATA);
        tables.assert(8 * MIB, DATA);
    }

    pub(super) fn memory_above_4_gib<F: Format>() {
        let ram = [
            Span {
                start: MIB,
                end: 3 * GIB,
            },
            Span {
                start: 4 * GIB,
                end: 6 * GIB - 5 * MIB,
            },
        ];
        let needed = AddressSpace::<F>::tables_needed(&ram, &[]);
        assert_eq!(needed, 2);
        let mut tables = Fixture::<F>::new(needed);
        tables
            .build(|space| ram.iter().try_for_each(|&span| space.map_high(span)))
            .unwrap();
        for address in [4 * GIB, 5 * GIB - 1, 5 * GIB, 6 * GIB - 5 * MIB - 1] {
            tables.assert(address, DATA);
        }
        tables.assert(6 * GIB, None);
        // An end within a large page.
        let ram = Span {
            start: 4 * GIB,
            end: 5 * GIB - MIB,
        };
        let mut tables = Fixture::<F>::new(AddressSpace::<F>::tables_needed(&[ram], &[]));
        tables.build(|space| space.map_high(ram)).unwrap();
        tables.assert(5 * GIB - 1, DATA);
        tables.assert(5 * GIB, None);
    }

    pub(super) fn all_the_memory_there_can_be<F: Format>() {
        let ram = Span {
            start: MIB,
            end: F::MAX_ADDRESS,
        };
        let needed = AddressSpace::<F>::tables_needed(&[ram], &[]);
        assert_eq!(needed, F::MAX_ADDRESS / GIB - 4);
        let mut tables = Fixture::<F>::new(needed);
        tables.build(|space| space.map_high(ram)).unwrap();
        tables.assert(F::MAX_ADDRESS - 1, DATA);
    }

    pub(super) fn too_few_tables_and_unmapped_memory_are_refused<F: Format>() {
        let high = Span {
            start: 4 * GIB,
            end: 6 * GIB,
        };
        assert_eq!(Fixture::<F>::new(1).build(|space| space.map_high(high)), None);
        assert_eq!(
            Fixture::<F>::new(0).build(|space| space.protect(Span { start: 0, end: 1 }, CODE)),
            None
        );
        assert_eq!(
            Fixture::<F>::new(9).build(|space| space.protect(
                Span {
                    start: 5 * GIB,
                    end: 5 * GIB + 1
                },
                CODE
            )),
            None
        );
        let beyond = Span {
            start: 600 * GIB,
            end: 601 * GIB,
        };
        assert_eq!(
            Fixture::<F>::new(9).build(|space| space.map_high(beyond)),
            Some(()),
            "ignored"
        );
        assert_eq!(
            Fixture::<F>::new(9).build(|space| space.protect(beyond, CODE)),
            None
        );
        let top = Span {
            start: u64::MAX - 1,
            end: u64::MAX,
        };
        assert_eq!(Fixture::<F>::new(9).build(|space| space.protect(top, CODE)), None);
    }
}
