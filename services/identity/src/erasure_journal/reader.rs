//! The reader of a journal, line by line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::Record;

/// The maximum length of a line that is read, in bytes. A longer one is no record.
const MAX_LINE_BYTES: u64 = 4096;

/// The records of a journal, in the order in which they were appended. A last line without a line break is the torn line of
/// a process that crashed: its erasure was not recorded as completed, so the line is skipped unless it is whole.
#[derive(Debug)]
pub struct JournalReader {
    path: PathBuf,
    file: BufReader<File>,
    number: u64,
}

/// The reason why a journal cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Io(PathBuf, io::Error),
    /// A line is no record.
    #[error(
        "{0}, line {1}: must be {{\"user_id\":\"<UUID>\",\"completed_at\":\"<RFC 3339>\"}}; restore the file from its copy, or \
         remove the line if it belongs to no erasure"
    )]
    Line(PathBuf, u64),
}

impl JournalReader {
    /// Opens the journal in the file `path`.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|error| ReadError::Io(path.to_owned(), error))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            number: 0,
        })
    }
}

impl Iterator for JournalReader {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let mut limited = (&mut self.file).take(MAX_LINE_BYTES);
        if let Err(error) = limited.read_until(b'\n', &mut line) {
            return Some(Err(ReadError::Io(self.path.clone(), error)));
        }
        self.number += 1;
        let is_complete = line.pop_if(|last| *last == b'\n').is_some();
        let is_last = !is_complete && (line.len() as u64) < MAX_LINE_BYTES;
        match Record::parse(&line) {
            Some(record) => Some(Ok(record)),
            None if is_last => None,
            None => Some(Err(ReadError::Line(self.path.clone(), self.number))),
        }
    }
}
