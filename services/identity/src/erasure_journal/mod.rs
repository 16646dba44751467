//! The journal of completed erasures: a file outside of the database, which is archived with the backups.
//!
//! A restore of the database to an older time takes the erasures since then back. The journal has them: `identity reconcile
//! --erasures` erases its people again. A line has a person's id and a time, and nothing else.
//!
//! An erasure is recorded as completed only after its line is on the disk. So the line of a completed erasure is never
//! missing, and a line may be there twice.

mod reader;
mod record;

pub use self::{
    reader::{JournalReader, ReadError},
    record::Record,
};

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{sync::Mutex, time::timeout};

use self::record::{LINE_BYTES, is_beginning_of_line};

/// The time limit of one append. A disk that takes longer counts as unwritable, and the erasure is tried again.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The journal. Clones share it.
///
/// Several processes may append to one file, because each append holds the file's lock (`flock`). Each opens the file
/// again, so that it may be moved away at any time.
#[derive(Clone, Debug)]
pub struct ErasureJournal {
    path: Arc<PathBuf>,
    /// The turn to append: while a disk hangs, one thread waits for it, and not one for each erasure.
    turn: Arc<Mutex<()>>,
}

/// The reason why an erasure was not written down.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file cannot be opened, locked, written or synced: for example because the disk is full.
    #[error("cannot append to the journal of erasures: {0}")]
    Io(#[from] io::Error),
    /// The disk did not answer in time.
    #[error("cannot append to the journal of erasures: the disk did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
}

// === impl ErasureJournal ===

impl ErasureJournal {
    /// The journal in the file `path`, which is created by the first append.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path: Arc::new(path),
            turn: Arc::default(),
        }
    }

    /// Appends `record`, and waits until it is on the disk.
    ///
    /// # Errors
    ///
    /// See [`JournalError`]. The line may be there nevertheless.
    pub async fn append(&self, record: Record) -> Result<(), JournalError> {
        let appending = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            let path = Arc::clone(&self.path);
            let append = move || {
                let _turn = turn;
                append(&path, &record)
            };
            let appended = tokio::task::spawn_blocking(append).await;
            appended.unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        let appended = timeout(TIMEOUT, appending).await;
        let appended = appended.map_or(Err(JournalError::Timeout), |appended| Ok(appended?));
        let outcome = if appended.is_ok() { "written" } else { "failed" };
        metrics::counter!("haven_erasure_journal_appends_total", "outcome" => outcome).increment(1);
        appended
    }
}

/// Describes the metrics of this file for scrapers.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "haven_erasure_journal_appends_total",
        metrics::Unit::Count,
        "Completed erasures that were to be appended to the journal, by outcome: written or failed"
    );
    for outcome in ["written", "failed"] {
        metrics::counter!("haven_erasure_journal_appends_total", "outcome" => outcome).increment(0);
    }
}

fn append(path: &Path, record: &Record) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    file.lock()?;
    let end = end_of_lines(&mut file)?;
    if end < file.metadata()?.len() {
        file.set_len(end)?;
    }
    let written = file
        .write_all(record.line().as_bytes())
        .and_then(|()| file.sync_data());
    if written.is_err() {
        // A part of the line may be there. If it cannot be removed, the next append does.
        let _ = file.set_len(end);
    }
    written?;
    if end == 0 {
        // The file may be new, and its name must be on the disk too.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Returns the position behind the last whole line. After it there can only be the beginning of a line, which a process that
/// crashed or met a full disk did not finish.
///
/// # Errors
///
/// When the file does not end like a journal. It may be another file, so nothing of it is removed.
fn end_of_lines(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(LINE_BYTES as u64);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(length - start).read_to_end(&mut tail)?;
    let torn = tail.iter().rev().take_while(|byte| **byte != b'\n').count();
    if !is_beginning_of_line(&tail[tail.len() - torn..]) {
        let message = "the end of the file is no erasure: it is not a journal of erasures";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(start + (tail.len() - torn) as u64)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use chrono::DateTime;
    use haven_platform::{call::UserId, entropy::Entropy, time::Clock};
    use uuid::Uuid;

    use super::*;

    fn record(number: u128) -> Record {
        Record {
            user_id: UserId::new(Uuid::from_u128(number)),
            completed_at: DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap(),
        }
    }

    /// A path in a new directory.
    fn path() -> PathBuf {
        let name = Entropy::system().uuid_v7(&Clock::system()).to_string();
        let directory = std::env::temp_dir().join(format!("haven-erasures-{name}"));
        fs::create_dir(&directory).unwrap();
        directory.join("erasures.jsonl")
    }

    fn read(path: &Path) -> Result<Vec<Record>, ReadError> {
        JournalReader::open(path).unwrap().collect()
    }

    #[tokio::test]
    async fn appended_records_are_read_in_order() {
        let path = path();
        for number in 1..=3 {
            // As after a restart.
            ErasureJournal::new(path.clone())
                .append(record(number))
                .await
                .unwrap();
        }
        assert_eq!(read(&path).unwrap(), [1, 2, 3].map(record));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().all(|line| line.len() + 1 == LINE_BYTES), "{text}");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_torn_line_is_replaced_by_the_next_append() {
        let path = path();
        let whole = record(1).line();
        for torn in 1..whole.len() {
            fs::write(&path, format!("{whole}{}", &record(2).line()[..torn])).unwrap();
            ErasureJournal::new(path.clone()).append(record(3)).await.unwrap();
            assert_eq!(read(&path).unwrap(), [1, 3].map(record), "{torn}");
        }
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn another_file_is_left_as_it_is() {
        let path = path();
        for content in ["a secret", &"\n{\"other\":1}".repeat(20)] {
            fs::write(&path, content).unwrap();
            let error = ErasureJournal::new(path.clone())
                .append(record(1))
                .await
                .unwrap_err();
            assert!(error.to_string().contains("not a journal"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn many_appenders_share_a_file() {
        let path = path();
        let journals = [
            ErasureJournal::new(path.clone()),
            ErasureJournal::new(path.clone()),
        ];
        let appends = (1..=40_usize).map(|number| {
            let journal = journals[number % 2].clone();
            async move { journal.append(record(number as u128)).await }
        });
        for appended in futures_util::future::join_all(appends).await {
            appended.unwrap();
        }
        let mut numbers: Vec<_> = read(&path)
            .unwrap()
            .iter()
            .map(|record| record.user_id.as_uuid().as_u128())
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_an_error() {
        let error = ErasureJournal::new("/nowhere/erasures.jsonl".into())
            .append(record(1))
            .await
            .unwrap_err();
        assert!(matches!(error, JournalError::Io(_)), "{error}");
        // A disk without room: the write fails, or the sync does.
        let full = ErasureJournal::new("/dev/full".into());
        assert!(full.append(record(1)).await.is_err());
    }

    #[test]
    fn a_torn_last_line_is_skipped_and_a_wrong_line_is_named() {
        let path = path();
        let [one, two] = [1, 2].map(|number| record(number).line());
        fs::write(&path, format!("{one}{}", &two[..40])).unwrap();
        assert_eq!(read(&path).unwrap(), [record(1)]);
        // A last line that lacks only its end is whole.
        fs::write(&path, format!("{one}{}", two.trim_end())).unwrap();
        assert_eq!(read(&path).unwrap(), [1, 2].map(record));
        for wrong in ["\n", "garbage\n", &format!("{}\n", &two[..40]), &"x".repeat(5000)] {
            fs::write(&path, format!("{one}{wrong}{two}")).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("line 2: "), "{error}");
        }
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
