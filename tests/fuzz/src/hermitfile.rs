//! The reader of Hermitfiles: any bytes are a manifest or an error with a place in them, and a manifest is printed so
//! that it is read as the same.

use hermitfile::Manifest;

/// The bytes are a Hermitfile.
pub fn run(data: &[u8]) {
    let manifest = match Manifest::parse("Hermitfile", data) {
        Ok(manifest) => manifest,
        Err(error) => {
            let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
            assert!((1..=lines).contains(&error.line()), "{error}");
            assert!((1..=data.len() + 1).contains(&error.column()), "{error}");
            return;
        }
    };
    let printed = manifest.to_string();
    let read = Manifest::parse("printed", printed.as_bytes());
    assert_eq!(read.as_ref(), Ok(&manifest), "{printed}");
    assert_eq!(read.map(|read| read.to_string()).as_deref(), Ok(printed.as_str()));
    // A terminal is shown it.
    assert!(
        printed.chars().all(|c| c == '\n' || !c.is_control()),
        "{printed:?}"
    );
}
