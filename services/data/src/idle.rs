//! Idle streams: a watch without news sends an answer with its cursor alone now and then.
//!
//! Proxies end a stream on which nothing was sent for a while (nginx after 60 seconds, HAProxy often after 50, Envoy after 300), and
//! HTTP/2 pings do not count. The client then sees a broken stream without a reason.

use std::time::Duration;

use tokio::time::Instant;

/// The time without an answer after which a watch sends one with its cursor alone.
const IDLE: Duration = Duration::from_secs(20);

/// The time of a watch's last answer.
#[derive(Clone, Copy, Debug)]
pub struct LastAnswer(Instant);

impl LastAnswer {
    /// Notes that an answer is sent at `now`, or that the watch begins.
    #[must_use]
    pub fn at(now: Instant) -> Self {
        Self(now)
    }

    /// Returns whether an answer is due at `now` although there is no news.
    #[must_use]
    pub fn is_long_ago(self, now: Instant) -> bool {
        now >= self.0 + IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_due_twenty_seconds_after_the_last_one() {
        let began = Instant::now();
        let mut last = LastAnswer::at(began);
        let after = |milliseconds| began + Duration::from_millis(milliseconds);
        assert!(!last.is_long_ago(began));
        assert!(!last.is_long_ago(after(19_999)));
        assert!(last.is_long_ago(after(20_000)));
        last = LastAnswer::at(after(20_000));
        assert!(!last.is_long_ago(after(39_999)));
        assert!(last.is_long_ago(after(40_000)));
    }
}
