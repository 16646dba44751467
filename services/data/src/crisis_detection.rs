//! Runs a crisis detector so that it can neither fail a message nor hold it up.

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

/// How long a message waits for what is found in it, with the wait for a turn: as long as was asked for.
const LIMIT: Duration = Duration::from_millis(50);

/// How many texts are looked at at once. A detector that hangs keeps its thread, and this many at most.
const TURNS: usize = 4;

/// How often a detector's failures are logged at most: one that fails, fails for every message. The metric counts all.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Runs a detector on threads of its own, within bounds. Cloning shares them.
#[derive(Clone)]
pub struct Detection {
    detector: Arc<dyn CrisisDetector>,
    turns: Arc<Semaphore>,
    warned: Arc<Mutex<Option<Instant>>>,
}

/// A turn to look at a text. It is given back when it is dropped.
#[derive(Debug)]
struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// How looking at a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Found(Finding),
    Clear,
    /// The detector did not answer in time.
    Slow,
    Panicked,
    /// The detector was at so many other texts that it did not begin in time.
    Busy,
}

// === impl Detection ===

impl Detection {
    /// Detection by `detector`.
    pub fn new(detector: Arc<dyn CrisisDetector>) -> Self {
        Self {
            detector,
            turns: Arc::new(Semaphore::new(TURNS)),
            warned: Arc::default(),
        }
    }

    /// What is found in `text`, if anything is, within the 50 ms that a message waits for it. A detector that takes longer
    /// or panics has found nothing.
    pub async fn look_at(&self, text: &MessageText) -> Option<Finding> {
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

    async fn run(&self, text: &MessageText) -> Outcome {
        let limit = Instant::now() + LIMIT;
        // The semaphore is never closed; a turn that cannot come is none.
        let Ok(Ok(turn)) = timeout_at(limit, Arc::clone(&self.turns).acquire_owned()).await else {
            return Outcome::Busy;
        };
        let turn = Turn::new(turn);
        let detector = Arc::clone(&self.detector);
        let text = SecretString::from(text.expose());
        let mut looking = spawn_blocking(move || {
            // Until the detector is done, whoever still waits for it: it is the threads that are counted.
            let _turn = turn;
            let began = Instant::now();
            let found = detector.detect(text.expose_secret());
            metrics::histogram!("haven_crisis_detection_seconds").record(began.elapsed());
            found
        });
        match timeout_at(limit, &mut looking).await {
            Ok(Ok(Some(finding))) => Outcome::Found(finding),
            Ok(Ok(None)) => Outcome::Clear,
            // What it panicked with can hold the text, and is looked at by nobody.
            Ok(Err(_)) => Outcome::Panicked,
            Err(_) => {
                // If it waits for a thread, it need not begin any more.
                looking.abort();
                Outcome::Slow
            }
        }
    }

    fn warn(&self, outcome: Outcome) {
        let now = Instant::now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| now.duration_since(at) >= WARN_EVERY) {
            *warned = Some(now);
            tracing::warn!(
                outcome = outcome.name(),
                "a message went on without the crisis detector; more of this kind are counted, and logged once a minute"
            );
        }
    }
}

impl fmt::Debug for Detection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Detection")
    }
}

// === impl Turn ===

impl Turn {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!("haven_crisis_detections_running").increment(1.0);
        Self { _permit: permit }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        metrics::gauge!("haven_crisis_detections_running").decrement(1.0);
    }
}

// === impl Outcome ===

impl Outcome {
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

/// Says what the metrics of this file mean, for whoever scrapes them.
pub fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_counter!(
        "haven_crisis_detections_total",
        Unit::Count,
        "Messages that the crisis detector was to look at, by outcome: found, clear, or, without an answer, slow, \
         panicked, busy"
    );
    metrics::describe_histogram!(
        "haven_crisis_detection_seconds",
        Unit::Seconds,
        "How long the crisis detector took for a text, also when nobody waited for it any more"
    );
    metrics::describe_gauge!(
        "haven_crisis_detections_running",
        Unit::Count,
        format!(
            "Texts that the crisis detector is looking at, also when nobody waits for it any more; while there are {TURNS}, \
             other messages go on without it"
        )
    );
    metrics::gauge!("haven_crisis_detections_running").set(0.0);
    // Alerts look for a change of these: they have to be there before the first one.
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

    /// Does what the text says. "hang": until the channel is closed.
    struct Obedient {
        released: Mutex<mpsc::Receiver<()>>,
        /// How many texts have hung it.
        hung: Arc<AtomicUsize>,
    }

    impl CrisisDetector for Obedient {
        fn detect(&self, text: &str) -> Option<Finding> {
            match text {
                // Past the hook of panics, which would print a backtrace for longer than the limit.
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

    fn obedient() -> (Detection, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (release, released) = mpsc::channel();
        let hung = Arc::default();
        let detector = Obedient {
            released: Mutex::new(released),
            hung: Arc::clone(&hung),
        };
        (Detection::new(Arc::new(detector)), release, hung)
    }

    fn text(text: &str) -> MessageText {
        MessageText::parse(text).unwrap()
    }

    /// What comes of `content`: asked again while there is no answer in time, as on a machine that is busy with other tests.
    async fn answer(detection: &Detection, content: &str) -> Outcome {
        for _ in 0..100 {
            let outcome = detection.run(&text(content)).await;
            if !matches!(outcome, Outcome::Slow | Outcome::Busy) {
                return outcome;
            }
        }
        panic!("never an answer in time");
    }

    /// Sees that what is found in `content` is what a message is stored with.
    async fn assert_finds(detection: &Detection, content: &str) {
        for _ in 0..100 {
            if let Some(found) = detection.look_at(&text(content)).await {
                return assert_eq!(found, FINDING, "{content}");
            }
        }
        panic!("nothing was found in time: {content}");
    }

    #[tokio::test]
    async fn what_the_detector_says_is_answered() {
        let (detection, _release, _) = obedient();
        assert_eq!(answer(&detection, "find").await, Outcome::Found(FINDING));
        assert_eq!(answer(&detection, "nothing").await, Outcome::Clear);
        assert_finds(&detection, "find").await;
        assert_finds(&Detection::new(Arc::new(PhraseList)), "I want to kill myself").await;
    }

    #[tokio::test]
    async fn a_detector_that_panics_has_found_nothing_and_is_asked_again() {
        let (detection, _release, _) = obedient();
        for _ in 0..TURNS + 1 {
            assert_eq!(answer(&detection, "panic").await, Outcome::Panicked);
        }
        assert_finds(&detection, "find").await;
    }

    #[tokio::test]
    async fn a_detector_that_hangs_holds_up_nobody_and_takes_no_more_threads_than_it_may() {
        let (detection, release, hung) = obedient();
        // What was asked for: a message waits 50 ms at most. The rest is for a machine that is busy with other tests.
        assert_eq!(LIMIT, Duration::from_millis(50));
        let run = async |content| {
            let began = Instant::now();
            let outcome = timeout(LIMIT * 10, detection.run(&text(content))).await;
            let took = began.elapsed();
            assert!(took >= LIMIT, "it has the whole time: {took:?}");
            (outcome, took)
        };
        let mut waits = Vec::new();
        // What did not get a thread in time is not begun any more: then one more.
        while hung.load(Ordering::Relaxed) < TURNS {
            let (slow, took) = run("hang").await;
            assert_eq!(slow, Ok(Outcome::Slow));
            waits.push(took);
        }
        for _ in 0..3 {
            let (busy, took) = run("find").await;
            assert_eq!(busy, Ok(Outcome::Busy));
            waits.push(took);
        }
        // Each of them waits for the whole of the limit, and so the shortest shows it.
        assert!(waits.iter().min() < Some(&(LIMIT * 2)), "{waits:?}");
        assert_eq!(
            detection.turns.available_permits(),
            0,
            "the threads are still taken"
        );
        drop(release);
        let turns = detection.turns.acquire_many(TURNS as u32);
        let turns = timeout(Duration::from_secs(10), turns).await;
        drop(turns.expect("they are given back"));
        assert_eq!(answer(&detection, "find").await, Outcome::Found(FINDING));
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_frees_no_thread() {
        let (detection, release, _) = obedient();
        let caller = {
            let detection = detection.clone();
            tokio::spawn(async move { detection.run(&text("hang")).await })
        };
        timeout(Duration::from_secs(10), async {
            while detection.turns.available_permits() == TURNS {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("it begins");
        caller.abort();
        let _ = caller.await;
        assert_eq!(detection.turns.available_permits(), TURNS - 1);
        drop(release);
    }

    #[tokio::test]
    async fn failures_are_logged_once_in_a_while() {
        let (detection, _release, _) = obedient();
        detection.warn(Outcome::Slow);
        let first = *detection.warned.lock().unwrap();
        detection.warn(Outcome::Panicked);
        assert_eq!(*detection.warned.lock().unwrap(), first);
        assert!(first.is_some());
    }
}
