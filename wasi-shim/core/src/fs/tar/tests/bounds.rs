//! Archives that would cost more than they are long, and where an archive that ends too early is said to end.

use super::*;

/// A path of a whole length: components of 100 bytes.
fn path_of(len: usize) -> Vec<u8> {
    let whole: Vec<u8> = (0..len)
        .map(|at| if at % 100 == 99 { b'/' } else { b'x' })
        .collect();
    assert_eq!(whole.len(), len);
    whole
}

/// Found while a bound on memory was sought for the fuzz target `archive`: in an archive of 1 MiB a thousand links
/// could get a copy of half of it each.
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn what_holds_for_all_entries_is_not_copied_without_end() {
    for (key, kind) in [
        ("linkpath", EntryType::Symlink),
        ("linkpath", EntryType::Link),
        ("path", EntryType::Regular),
        ("path", EntryType::Directory),
    ] {
        let archive = |len| {
            let mut archive = Archive::new(Vec::new());
            add_file(&mut archive, "f", b"");
            pax(&mut archive, EntryType::XGlobalHeader, &[(key, &path_of(len))]);
            let mut header = header(kind, 0);
            archive.append_data(&mut header, "x", &[][..]).expect("memory");
            finish(archive)
        };
        assert_eq!(error(archive(4096)), TarErrorKind::Path, "{key} {kind:?}");
        match kind {
            EntryType::Link => assert_eq!(error(archive(4095)), TarErrorKind::NoTarget),
            _ => assert!(load_into(Limits::NONE, archive(4095)).is_ok(), "{key} {kind:?}"),
        }
    }
}

/// Found by the fuzz target `archive`: the place named was behind the end.
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn an_archive_that_ends_in_the_padding_ends_where_it_ends() {
    let bytes = sample();
    for len in 0..bytes.len() - 512 {
        let error = load_into(Limits::NONE, bytes[..len].to_vec()).map(|_| ());
        let error = error.expect_err("it is cut off");
        assert_eq!(error.kind, TarErrorKind::Truncated, "{len}");
        assert!(error.offset <= len, "{error} of {len}");
    }
}
