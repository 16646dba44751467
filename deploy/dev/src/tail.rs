//! Shows what a service writes to its log.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// Follows one log, from where it ends now.
pub(crate) struct LogTail {
    name: &'static str,
    path: PathBuf,
    position: u64,
}

impl LogTail {
    /// Follows the log at `path`.
    pub(crate) fn new(name: &'static str, path: &Path) -> Self {
        let position = path.metadata().map_or(0, |metadata| metadata.len());
        Self {
            name,
            path: path.to_owned(),
            position,
        }
    }

    /// Prints the whole lines that were written since it was last asked.
    pub(crate) fn show(&mut self) {
        let mut text = Vec::new();
        let mut read = || -> std::io::Result<usize> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.position))?;
            file.read_to_end(&mut text)
        };
        // A log that cannot be read now is read the next time.
        if read().is_err() {
            return;
        }
        let Some(end) = text.iter().rposition(|&byte| byte == b'\n') else {
            return;
        };
        self.position += end as u64 + 1;
        for line in String::from_utf8_lossy(&text[..end]).lines() {
            println!("{:>8} │ {line}", self.name);
        }
    }
}
