//! The tables, walked as the CPU does.

use super::*;

const MIB: u64 = 1 << 20;
const LOW_AT: u64 = 0x10_8000;
const MORE_AT: u64 = 0x11_6000;
const DATA: Option<Rights> = Some(Rights {
    write: true,
    execute: false,
});
const CODE: Option<Rights> = Some(Rights {
    write: false,
    execute: true,
});

struct Fixture {
    low: Vec<Table>,
    more: Vec<Table>,
}

impl Fixture {
    fn new(more: u64) -> Self {
        // As memory may be where more tables are placed.
        let dirty = Table([u64::MAX; ENTRIES]);
        Self {
            low: vec![Table::EMPTY; LOW_TABLES],
            more: vec![dirty; usize::try_from(more).unwrap()],
        }
    }

    fn build(&mut self, build: impl FnOnce(&mut AddressSpace<'_>) -> Option<()>) -> Option<()> {
        let mut space = AddressSpace::new(Tables {
            tables: &mut self.low,
            address: LOW_AT,
        });
        assert_eq!(space.root(), LOW_AT);
        space.extend(Tables {
            tables: &mut self.more,
            address: MORE_AT,
        });
        build(&mut space)
    }

    /// Walks the tables as the CPU does.
    fn translate(&self, address: u64) -> Option<(u64, Rights)> {
        let mut rights = Rights {
            write: true,
            execute: true,
        };
        let mut table = LOW_AT;
        for size in [512 * GIB, GIB, LARGE_PAGE, PAGE] {
            let tables = if table >= MORE_AT {
                (&self.more, MORE_AT)
            } else {
                (&self.low, LOW_AT)
            };
            let index = usize::try_from((table - tables.1) / PAGE).unwrap();
            let entry = tables.0[index].0[index_of(address, size)];
            if entry & PRESENT == 0 {
                return None;
            }
            rights.write &= entry & WRITABLE != 0;
            rights.execute &= entry & NO_EXECUTE == 0;
            if entry & LARGE != 0 || size == PAGE {
                assert!(size <= LARGE_PAGE, "no huge pages");
                return Some(((entry & ADDRESS) + address % size, rights));
            }
            table = entry & ADDRESS;
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

#[test]
fn the_low_4_gib_are_mapped_to_themselves() {
    let mut tables = Fixture::new(0);
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
    tables.assert(512 * GIB, None);
}

#[test]
fn parts_get_their_own_rights() {
    let image = Span {
        start: 2 * MIB,
        end: 6 * MIB + 5,
    };
    let needed = AddressSpace::tables_needed(
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
    let mut tables = Fixture::new(needed);
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

#[test]
fn memory_above_4_gib() {
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
    let needed = AddressSpace::tables_needed(&ram, &[]);
    assert_eq!(needed, 2);
    let mut tables = Fixture::new(needed);
    tables
        .build(|space| ram.iter().try_for_each(|&span| space.map_high(span)))
        .unwrap();
    for address in [
        4 * GIB,
        5 * GIB - 1,
        5 * GIB,
        6 * GIB - 5 * MIB - 1,
        6 * GIB - 5 * MIB,
    ] {
        tables.assert(address, DATA);
    }
    tables.assert(6 * GIB, None);
    // An end at a large page's: the kernel maps the one after it.
    let ram = Span {
        start: 4 * GIB,
        end: 5 * GIB,
    };
    let mut tables = Fixture::new(AddressSpace::tables_needed(&[ram], &[]));
    tables.build(|space| space.map_high(ram)).unwrap();
    tables.assert(5 * GIB, DATA);
    tables.assert(5 * GIB + 2 * MIB, None);
}

#[test]
fn all_the_memory_there_can_be() {
    let ram = Span {
        start: MIB,
        end: 512 * GIB,
    };
    let needed = AddressSpace::tables_needed(&[ram], &[]);
    assert_eq!(needed, 508);
    let mut tables = Fixture::new(needed);
    tables.build(|space| space.map_high(ram)).unwrap();
    tables.assert(512 * GIB - 1, DATA);
}

#[test]
fn too_few_tables_and_unmapped_memory_are_refused() {
    let high = Span {
        start: 4 * GIB,
        end: 6 * GIB,
    };
    assert_eq!(Fixture::new(1).build(|space| space.map_high(high)), None);
    assert_eq!(
        Fixture::new(0).build(|space| space.protect(Span { start: 0, end: 1 }, CODE)),
        None
    );
    assert_eq!(
        Fixture::new(9).build(|space| space.protect(
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
        Fixture::new(9).build(|space| space.map_high(beyond)),
        Some(()),
        "ignored"
    );
    assert_eq!(Fixture::new(9).build(|space| space.protect(beyond, CODE)), None);
    let top = Span {
        start: u64::MAX - 1,
        end: u64::MAX,
    };
    assert_eq!(Fixture::new(9).build(|space| space.protect(top, CODE)), None);
}
