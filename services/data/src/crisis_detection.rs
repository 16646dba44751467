//! Runs a crisis detector with a time limit, so that it can neither fail nor delay a message.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use crate::domain::{
    crisis::{CrisisDetector, Finding},
    message::MessageText,
};

/// The time that a message waits for its finding, including the wait for a thread.
const TIMEOUT: Duration = Duration::from_millis(50);

/// The maximum number of texts that are searched at the same time, and so of threads that a hanging detector can take.
const MAX_RUNNING: usize = 4;

/// The shortest time between two log lines about failures: a failing detector fails for every message. The metric
/// counts all.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Runs a detector on a limited number of blocking threads. Clones share the limit.
#[derive(Clone)]
pub struct Detection {
    detector: Arc<dyn CrisisDetector>,
    permits: Arc<Semaphore>,
    warned_at: Arc<Mutex<Option<Instant>>>,
}

/// A permit to search one text, which is counted in the metrics and returned when dropped.
#[derive(Debug)]
struct Running {
    _permit: OwnedSemaphorePermit,
}

/// The outcome of one search; the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The detector returned a finding.
    Found(Finding),
    /// The detector returned no finding.
    Clear,
    /// The detector did not return in time.
    Slow,
    /// The detector panicked, which counts as no finding.
    Panicked,
    /// No thread became free in time.
    Busy,
}

// === impl Detection ===

impl Detection {
    /// Creates a detection with `detector`.
    pub fn new(detector: Arc<dyn CrisisDetector>) -> Self {
        Self {
            detector,
            permits: Arc::new(Semaphore::new(MAX_RUNNING)),
            warned_at: Arc::default(),
        }
    }

    /// Returns the finding in `text`. `None` when there is none, or when the detector panics or does not return within
    /// 50 ms.
    pub async fn detect(&self, text: &MessageText) -> Option<Finding> {
        let outcome = self.run(text).await;
        metrics::counter!("haven_crisis_detections_total", "outcome" => outcome.name()).increment(1);
        match outcome {
            Outcome::Found(finding) => Some(finding),
            Outcome::Clear => None,
            Outcome::Slow | Outcome::Panicked | Outcome::Busy => {
                self.warn(outcome);
                None
            }
        }
    }

    /// Runs the detector with the time limit.
    async fn run(&self, text: &MessageText) -> Outcome {
        let limit = Instant::now() + TIMEOUT;
        // The semaphore is never closed.
        let Ok(Ok(permit)) = timeout_at(limit, Arc::clone(&self.permits).acquire_owned()).await else {
            return Outcome::Busy;
        };
        let running = Running::new(permit);
        let detector = Arc::clone(&self.detector);
        let text = SecretString::from(text.expose());
        let mut search = spawn_blocking(move || {
            // Held until the detector returns, even when the message no longer waits: the limit counts threads.
            let _running = running;
            let began = Instant::now();
            let found = detector.detect(text.expose_secret());
            metrics::histogram!("haven_crisis_detection_seconds").record(began.elapsed());
            found
        });
        match timeout_at(limit, &mut search).await {
            Ok(Ok(Some(finding))) => Outcome::Found(finding),
            Ok(Ok(None)) => Outcome::Clear,
            // The panic's payload may contain the text, and is dropped unread.
            Ok(Err(_)) => Outcome::Panicked,
            Err(_) => {
                // Cancels the search if it has not begun.
                search.abort();
                Outcome::Slow
            }
        }
    }

    /// Logs a failure, at most once per [`WARN_INTERVAL`].
    fn warn(&self, outcome: Outcome) {
        let now = Instant::now();
        let mut warned_at = self.warned_at.lock().unwrap_or_else(PoisonError::into_inner);
        if warned_at.is_none_or(|at| now.duration_since(at) >= WARN_INTERVAL) {
            *warned_at = Some(now);
            tracing::warn!(
                outcome = outcome.name(),
                "a message was stored without crisis detection; failures are counted, and logged at most once a minute"
            );
        }
    }
}

impl fmt::Debug for Detection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Detection")
    }
}

// === impl Running ===

impl Running {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!("haven_crisis_detections_running").increment(1.0);
        Self { _permit: permit }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        metrics::gauge!("haven_crisis_detections_running").decrement(1.0);
    }
}

// === impl Outcome ===

impl Outcome {
    /// The value of the label.
    fn name(self) -> &'static str {
        match self {
            Self::Found(_) => "found",
            Self::Clear => "clear",
            Self::Slow => "slow",
            Self::Panicked => "panicked",
            Self::Busy => "busy",
        }
    }
}

/// Describes the metrics of this module.
pub fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_counter!(
        "haven_crisis_detections_total",
        Unit::Count,
        "Messages for the crisis detector by outcome: found, clear, or, without a result, slow, panicked, busy"
    );
    metrics::describe_histogram!(
        "haven_crisis_detection_seconds",
        Unit::Seconds,
        "The time that the crisis detector took for a text, even when the message no longer waited"
    );
    metrics::describe_gauge!(
        "haven_crisis_detections_running",
        Unit::Count,
        format!(
            "Texts that the crisis detector is searching, even when their messages no longer wait; while there are \
             {MAX_RUNNING}, other messages are stored without detection"
        )
    );
    metrics::gauge!("haven_crisis_detections_running").set(0.0);
    // Set to zero, because alerts on changes of a series need its value before the first change.
    for outcome in ["found", "clear", "slow", "panicked", "busy"] {
        metrics::counter!("haven_crisis_detections_total", "outcome" => outcome).absolute(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use tokio::time::timeout;

    use super::*;
    use crate::domain::{
        crisis::{SeverityLevel, TriggerType},
        phrases::PhraseList,
    };

    const FINDING: Finding = Finding {
        trigger: TriggerType::Suicide,
        severity: SeverityLevel::Critical,
    };

    /// A detector that does what the text says. "hang" blocks until the channel is closed.
    struct ScriptedDetector {
        released: Mutex<mpsc::Receiver<()>>,
        /// The number of texts that the detector has hung on.
        hung: Arc<AtomicUsize>,
    }

    impl CrisisDetector for ScriptedDetector {
        fn detect(&self, text: &str) -> Option<Finding> {
            match text {
                // Skips the panic hook: printing a backtrace would exceed the time limit.
                "panic" => std::panic::resume_unwind(Box::new("a test's panic")),
                "hang" => {
                    self.hung.fetch_add(1, Ordering::Relaxed);
                    let _ = self
                        .released
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .recv();
                    None
                }
                "find" => Some(FINDING),
                _ => None,
            }
        }
    }

    fn scripted() -> (Detection, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (release, released) = mpsc::channel();
        let hung = Arc::default();
        let detector = ScriptedDetector {
            released: Mutex::new(released),
            hung: Arc::clone(&hung),
        };
        (Detection::new(Arc::new(detector)), release, hung)
    }

    fn text(text: &str) -> MessageText {
        MessageText::parse(text).unwrap()
    }

    /// Returns the outcome for `content`. Retries while the outcome is slow or busy, as on a machine that runs other
    /// tests.
    async fn outcome_of(detection: &Detection, content: &str) -> Outcome {
        for _ in 0..100 {
            let outcome = detection.run(&text(content)).await;
            if !matches!(outcome, Outcome::Slow | Outcome::Busy) {
                return outcome;
            }
        }
        panic!("no result in time");
    }

    /// Asserts that a message with `content` gets the finding.
    async fn assert_finds(detection: &Detection, content: &str) {
        for _ in 0..100 {
            if let Some(found) = detection.detect(&text(content)).await {
                return assert_eq!(found, FINDING, "{content}");
            }
        }
        panic!("no finding in time: {content}");
    }

    #[tokio::test]
    async fn the_detectors_result_is_returned() {
        let (detection, _release, _) = scripted();
        assert_eq!(outcome_of(&detection, "find").await, Outcome::Found(FINDING));
        assert_eq!(outcome_of(&detection, "nothing").await, Outcome::Clear);
        assert_finds(&detection, "find").await;
        assert_finds(&Detection::new(Arc::new(PhraseList)), "I want to kill myself").await;
    }

    #[tokio::test]
    async fn a_panic_counts_as_no_finding_and_the_detector_is_called_again() {
        let (detection, _release, _) = scripted();
        for _ in 0..MAX_RUNNING + 1 {
            assert_eq!(outcome_of(&detection, "panic").await, Outcome::Panicked);
        }
        assert_finds(&detection, "find").await;
    }

    #[tokio::test]
    async fn a_hanging_detector_delays_no_message_and_takes_a_limited_number_of_threads() {
        let (detection, release, hung) = scripted();
        // The requirement: a message waits at most 50 ms. The larger bounds allow for a machine that runs other tests.
        assert_eq!(TIMEOUT, Duration::from_millis(50));
        let run = async |content| {
            let began = Instant::now();
            let outcome = timeout(TIMEOUT * 10, detection.run(&text(content))).await;
            let took = began.elapsed();
            assert!(took >= TIMEOUT, "the wait was cut short: {took:?}");
            (outcome, took)
        };
        let mut waits = Vec::new();
        // A search that did not get a thread in time was cancelled; then another one is needed.
        while hung.load(Ordering::Relaxed) < MAX_RUNNING {
            let (slow, took) = run("hang").await;
            assert_eq!(slow, Ok(Outcome::Slow));
            waits.push(took);
        }
        for _ in 0..3 {
            let (busy, took) = run("find").await;
            assert_eq!(busy, Ok(Outcome::Busy));
            waits.push(took);
        }
        // The shortest wait counts: all calls wait for the whole time limit.
        assert!(waits.iter().min() < Some(&(TIMEOUT * 2)), "{waits:?}");
        assert_eq!(
            detection.permits.available_permits(),
            0,
            "the threads are still busy"
        );
        drop(release);
        let permits = detection.permits.acquire_many(MAX_RUNNING as u32);
        let permits = timeout(Duration::from_secs(10), permits).await;
        drop(permits.expect("the permits are returned"));
        assert_eq!(outcome_of(&detection, "find").await, Outcome::Found(FINDING));
    }

    #[tokio::test]
    async fn a_cancelled_call_frees_no_thread() {
        let (detection, release, _) = scripted();
        let caller = {
            let detection = detection.clone();
            tokio::spawn(async move { detection.run(&text("hang")).await })
        };
        timeout(Duration::from_secs(10), async {
            while detection.permits.available_permits() == MAX_RUNNING {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the search begins");
        caller.abort();
        let _ = caller.await;
        assert_eq!(detection.permits.available_permits(), MAX_RUNNING - 1);
        drop(release);
    }

    #[tokio::test]
    async fn failures_are_logged_at_most_once_a_minute() {
        let (detection, _release, _) = scripted();
        detection.warn(Outcome::Slow);
        let first = *detection.warned_at.lock().unwrap();
        detection.warn(Outcome::Panicked);
        assert_eq!(*detection.warned_at.lock().unwrap(), first);
        assert!(first.is_some());
    }
}
