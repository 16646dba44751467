//! Prints new lines of a log file, like `tail -f`.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// A log file and the position up to which it was printed.
pub(crate) struct LogTail {
    name: &'static str,
    path: PathBuf,
    position: u64,
}

impl LogTail {
    /// Starts at the current end of the log at `path`. Lines are printed with the prefix `name`.
    pub(crate) fn new(name: &'static str, path: &Path) -> Self {
        let position = path.metadata().map_or(0, |metadata| metadata.len());
        Self {
            name,
            path: path.to_owned(),
            position,
        }
    }

    /// Prints the complete lines that were written since the last call.
    pub(crate) fn print_new_lines(&mut self) {
        let mut text = Vec::new();
        let mut read = || -> std::io::Result<usize> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.position))?;
            file.read_to_end(&mut text)
        };
        // An unreadable log is tried again at the next call.
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
