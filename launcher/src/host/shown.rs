//! What messages say of a path. The rest of what is shown: `boot_protocol::shown`.

use std::path::Path;

use boot_protocol::shown::piece;

/// A path as a message quotes it, whatever its name.
pub fn path(path: impl AsRef<Path>) -> String {
    piece(path.as_ref().as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn a_name_of_bytes_is_one_line_of_text() {
        let name = OsStr::from_bytes(b"/a\nb/\x1b[2J\xff\xe2\x80\xae/caf\xc3\xa9");
        assert_eq!(path(name), r"/a\nb/\u{1b}[2J\xff\u{202e}/café");
    }
}
