//! Room on the disk for what is too large for memory.

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

/// A file without a name. However this process ends, its space comes back: Lambda keeps /tmp when it kills a function.
#[derive(Debug)]
pub struct Spool {
    file: File,
}

impl Spool {
    /// An empty one.
    ///
    /// # Errors
    /// When the disk has no room.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()? })
    }

    /// A way to open it, for as long as it is there.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
        Path::new(folder).join(self.file.as_raw_fd().to_string())
    }

    /// To write into it.
    ///
    /// # Errors
    /// When the process has too many open files.
    pub fn writer(&self) -> std::io::Result<tokio::fs::File> {
        Ok(tokio::fs::File::from_std(self.file.try_clone()?))
    }
}
