//! A directory that is shared with a hostile machine, and what lies around it.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::run::Ended;

/// What nobody in the machine may read.
const SECRET: &str = "the secret next to the shared directory";

/// A directory for one run: the module, a secret, and the directory that is shared.
pub(crate) struct Scratch {
    root: PathBuf,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("owned").join(name);
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
        }
        let scratch = Self { root };
        fs::create_dir_all(scratch.shared())?;
        scratch.write("secret", SECRET.as_bytes())?;
        fs::write(scratch.shared().join("inside"), "inside\n")?;
        Ok(scratch)
    }

    /// The directory that is shared.
    pub(crate) fn shared(&self) -> PathBuf {
        self.root.join("shared")
    }

    /// Writes a file outside of it.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.root.join(name);
        fs::write(&path, bytes)?;
        Ok(path)
    }

    /// Fails if anything is to be seen that the flags do not allow.
    pub(crate) fn nothing_but_the_flags(&self, ended: &Ended) -> Result<()> {
        let mut around: Vec<_> = fs::read_dir(&self.root)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<Result<_>>()?;
        around.sort();
        ensure!(
            around == ["module.wasm", "secret", "shared"],
            "outside of the directory there is {around:?}"
        );
        ensure!(
            fs::read_to_string(self.root.join("secret"))? == SECRET,
            "the secret was written"
        );
        ensure!(!ended.printed(SECRET), "the secret was read");
        ensure!(!ended.printed("root:"), "a file of the host was read");
        let own = fs::metadata(&self.root)?;
        look(&self.shared(), &own)
    }
}

/// Looks at all that is in a directory.
fn look(directory: &Path, own: &Metadata) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let metadata = path.symlink_metadata()?;
        let (kind, mode) = (metadata.file_type(), metadata.permissions().mode());
        let shown = path.display();
        ensure!(
            !kind.is_block_device() && !kind.is_char_device(),
            "{shown} is a device"
        );
        ensure!(
            !kind.is_fifo() && !kind.is_socket(),
            "{shown} is a pipe or a socket"
        );
        ensure!(mode & 0o6000 == 0, "{shown} is setuid or setgid: {mode:o}");
        ensure!(
            (metadata.uid(), metadata.gid()) == (own.uid(), own.gid()),
            "{shown} belongs to {}:{}",
            metadata.uid(),
            metadata.gid()
        );
        if kind.is_dir() {
            look(&path, own)?;
        }
    }
    Ok(())
}
