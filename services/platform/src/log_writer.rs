//! The writer of log lines: a thread of its own, so that no call waits for the output.
//!
//! A line is formatted by its caller and added to a buffer. The thread writes the buffer a few milliseconds later, with all lines
//! that have come by then, in one write. No line is dropped, unless the output refuses it: when the buffer is full, because the output is slower than the lines,
//! those who log wait, as they would without a buffer. What is in the buffer is written when the service stops and when it
//! panics. A process that is killed loses the lines of its last milliseconds.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// The time for which lines are collected after the first.
const COLLECT: Duration = Duration::from_millis(5);

/// The size of the buffer. A line that does not fit waits.
const MAX_BYTES: usize = 256 * 1024;

/// The filling from which the thread collects no longer.
const EAGER_BYTES: usize = MAX_BYTES / 4;

/// The pause before an output that takes nothing at the moment is tried again.
const AGAIN: Duration = Duration::from_millis(1);

/// The memory that the buffers keep when they are empty, each.
const KEPT_BYTES: usize = 16 * 1024;

/// The lines that are not written yet, and the output. Cloning shares them.
#[derive(Clone)]
pub(crate) struct LogWriter(Arc<Shared>);

/// Writes what is left when it is dropped. Later lines are written by those who log them.
pub(crate) struct LogGuard {
    writer: LogWriter,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Shared {
    pending: Mutex<Pending>,
    /// Wakes the thread: there is a first line, a lot of them, or the end.
    work: Condvar,
    /// Wakes those who wait for room.
    room: Condvar,
    /// Locked before `pending`, so that lines stay in order.
    output: Mutex<Output>,
}

struct Pending {
    lines: Vec<u8>,
    is_open: bool,
}

struct Output {
    sink: Box<dyn Write + Send>,
    /// What is being written; empty otherwise.
    lines: Vec<u8>,
}

impl LogWriter {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    ///
    /// An error when the thread cannot start.
    pub(crate) fn start(sink: impl Write + Send + 'static) -> io::Result<(Self, LogGuard)> {
        let writer = Self(Arc::new(Shared {
            pending: Mutex::new(Pending {
                lines: Vec::new(),
                is_open: true,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            output: Mutex::new(Output {
                sink: Box::new(sink),
                lines: Vec::new(),
            }),
        }));
        let shared = Arc::clone(&writer.0);
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.run())?;
        let guard = LogGuard {
            writer: writer.clone(),
            thread: Some(thread),
        };
        Ok((writer, guard))
    }

    /// Writes all lines now.
    pub(crate) fn flush(&self) {
        self.0.flush();
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut pending = self.pending();
            while pending.lines.is_empty() && pending.is_open {
                pending = self.work.wait(pending).unwrap_or_else(PoisonError::into_inner);
            }
            if pending.lines.is_empty() {
                return;
            }
            let collecting = |pending: &mut Pending| pending.is_open && pending.lines.len() < EAGER_BYTES;
            drop(
                self.work
                    .wait_timeout_while(pending, COLLECT, collecting)
                    .unwrap_or_else(PoisonError::into_inner),
            );
            self.flush();
        }
    }

    fn add(&self, line: &[u8]) {
        let mut pending = self.pending();
        // A line that is larger than the buffer is alone in it.
        while pending.is_open && !pending.lines.is_empty() && pending.lines.len() + line.len() > MAX_BYTES {
            pending = self.room.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        let before = pending.lines.len();
        pending.lines.extend_from_slice(line);
        let (after, is_open) = (pending.lines.len(), pending.is_open);
        drop(pending);
        if !is_open {
            self.flush();
        } else if before == 0 || (before < EAGER_BYTES && after >= EAGER_BYTES) {
            self.work.notify_one();
        }
    }

    fn flush(&self) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let Output { sink, lines } = &mut *output;
        std::mem::swap(lines, &mut self.pending().lines);
        self.room.notify_all();
        write_lines(sink, lines);
        lines.clear();
        lines.shrink_to(KEPT_BYTES);
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes whole lines. A line that cannot be written cannot be reported either, and those after it are tried.
fn write_lines(sink: &mut impl Write, lines: &[u8]) {
    let mut rest = lines;
    while !rest.is_empty() {
        match sink.write(rest) {
            Ok(written) if written > 0 => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another holder of the output may have made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::park_timeout(AGAIN),
            _ => {
                let end = rest.iter().position(|byte| *byte == b'\n');
                rest = end.map_or(&[], |end| &rest[end + 1..]);
            }
        }
    }
    let _ = sink.flush();
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.writer.0.pending().is_open = false;
        self.writer.0.work.notify_one();
        self.writer.0.room.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.writer.flush();
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a Shared;

    fn make_writer(&'a self) -> Self::Writer {
        &self.0
    }
}

/// Takes a whole line with each write.
impl Write for &Shared {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Instant,
    };

    use super::*;

    /// An output that keeps what is written, and waits before each write while its gate is locked.
    #[derive(Clone, Default)]
    struct Kept {
        content: Arc<Mutex<Vec<u8>>>,
        gate: Arc<Mutex<()>>,
        writes: Arc<AtomicUsize>,
    }

    impl Kept {
        fn lines(&self) -> Vec<String> {
            let content = String::from_utf8(self.content.lock().unwrap().clone()).unwrap();
            content.lines().map(str::to_owned).collect()
        }

        fn wait_for(&self, lines: usize) {
            let begin = Instant::now();
            while self.lines().len() < lines {
                assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", self.lines());
                thread::yield_now();
            }
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.gate.lock().unwrap());
            self.writes.fetch_add(1, Ordering::Relaxed);
            self.content.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(writer: &LogWriter, line: &str) {
        writeln!(writer.make_writer(), "{line}").unwrap();
    }

    #[test]
    fn lines_of_many_threads_are_all_written_when_the_guard_is_dropped() {
        let kept = Kept::default();
        let (writer, guard) = LogWriter::start(kept.clone()).unwrap();
        thread::scope(|scope| {
            for thread in 0..4 {
                let writer = &writer;
                scope.spawn(move || {
                    for number in 0..5_000 {
                        writer
                            .0
                            .add(format!("{thread} {number} {}\n", "x".repeat(100)).as_bytes());
                    }
                });
            }
        });
        drop(guard);
        let lines = kept.lines();
        assert_eq!(lines.len(), 20_000);
        // The lines of each thread are in their order, and none is torn.
        for thread in 0..4 {
            let of_thread: Vec<_> = lines
                .iter()
                .filter_map(|line| line.strip_prefix(&format!("{thread} ")))
                .collect();
            let expected = (0..5_000).map(|number| format!("{number} {}", "x".repeat(100)));
            assert!(of_thread.into_iter().eq(expected));
        }
    }

    #[test]
    fn lines_are_written_soon_and_together() {
        let kept = Kept::default();
        let (writer, _guard) = LogWriter::start(kept.clone()).unwrap();
        log(&writer, "first");
        kept.wait_for(1);
        let gate = kept.gate.lock().unwrap();
        for number in 0..1_000 {
            writer.0.add(format!("{number}\n").as_bytes());
        }
        let before = kept.writes.load(Ordering::Relaxed);
        drop(gate);
        kept.wait_for(1_001);
        assert!(kept.writes.load(Ordering::Relaxed) - before <= 2);
    }

    #[test]
    fn a_full_buffer_makes_those_who_log_wait_and_loses_nothing() {
        let kept = Kept::default();
        let (writer, guard) = LogWriter::start(kept.clone()).unwrap();
        let gate = kept.gate.lock().unwrap();
        let (lines, line) = (3 * MAX_BYTES / 1000, format!("{}\n", "x".repeat(999)));
        let (done, is_done) = mpsc::channel();
        let logging = thread::spawn({
            let writer = writer.clone();
            move || {
                for _ in 0..lines {
                    writer.0.add(line.as_bytes());
                }
                done.send(()).unwrap();
            }
        });
        // Two buffers fit: one that is being written, and one that is filled.
        let waited = is_done.recv_timeout(Duration::from_millis(200));
        assert_eq!(waited, Err(mpsc::RecvTimeoutError::Timeout));
        assert!(writer.0.pending().lines.len() <= MAX_BYTES);
        drop(gate);
        logging.join().unwrap();
        drop(guard);
        assert_eq!(kept.lines().len(), lines);
        // The buffers gave their memory back.
        assert!(writer.0.output.lock().unwrap().lines.capacity() <= KEPT_BYTES);
    }

    #[test]
    fn a_line_that_is_larger_than_the_buffer_is_written() {
        let kept = Kept::default();
        let (writer, guard) = LogWriter::start(kept.clone()).unwrap();
        log(&writer, "small");
        writer
            .0
            .add(format!("{}\n", "x".repeat(2 * MAX_BYTES)).as_bytes());
        drop(guard);
        assert_eq!(kept.lines().len(), 2);
    }

    #[test]
    fn lines_after_the_end_and_before_an_abort_are_written_at_once() {
        let kept = Kept::default();
        let (writer, guard) = LogWriter::start(kept.clone()).unwrap();
        log(&writer, "before a panic");
        writer.flush();
        assert_eq!(kept.lines(), ["before a panic"]);
        log(&writer, "last");
        drop(guard);
        log(&writer, "after the end");
        assert_eq!(kept.lines(), ["before a panic", "last", "after the end"]);
    }
}
