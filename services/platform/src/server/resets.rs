//! Resets: counts the streams that a client resets, by the frames that it sends.
//!
//! h2 and hyper do not say that a stream was reset: a handler that reads from such a stream fails like others. h2's own limit
//! counts only the streams that the server did not look at yet.

use tokio::time::Instant;

/// The resets that a connection may have in a second over time, and at once: twice what a client with a thousand cancelled
/// calls a second needs. More is a flood (CVE-2023-44487).
const PER_SECOND: f64 = 2_000.0;
const AT_ONCE: f64 = 4_000.0;

/// The preface of HTTP/2 (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame's header, and the type of RST_STREAM (RFC 9113, sections 4.1 and 6.4).
const HEADER: usize = 9;
const RST_STREAM: u8 = 3;

/// Reads the bytes of one connection, and counts its resets in a token bucket.
pub(super) struct Resets {
    /// The bytes to pass over before the next frame's header: of the preface, or of a frame's payload.
    skip: usize,
    header: [u8; HEADER],
    /// The bytes of the header that are known.
    known: usize,
    tokens: f64,
    filled: Instant,
}

impl Resets {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            skip: PREFACE.len(),
            header: [0; HEADER],
            known: 0,
            tokens: AT_ONCE,
            filled: now,
        }
    }

    /// Reads the next bytes, which came at `now`. Returns false when there are more resets than a connection may have.
    pub(super) fn read(&mut self, bytes: &[u8], now: Instant) -> bool {
        let resets = self.count(bytes);
        if resets == 0 {
            return true;
        }
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + seconds * PER_SECOND).min(AT_ONCE) - f64::from(resets);
        self.filled = now;
        self.tokens >= 0.0
    }

    fn count(&mut self, mut bytes: &[u8]) -> u32 {
        let mut resets = 0;
        while !bytes.is_empty() {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = &bytes[passed..];
            let taken = (HEADER - self.known).min(bytes.len());
            self.header[self.known..self.known + taken].copy_from_slice(&bytes[..taken]);
            self.known += taken;
            bytes = &bytes[taken..];
            if self.known == HEADER {
                let [a, b, c, kind, ..] = self.header;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                self.known = 0;
                resets += u32::from(kind == RST_STREAM);
            }
        }
        resets
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 1];
        // A payload that looks like resets.
        frame.extend(vec![RST_STREAM; length.into()]);
        frame
    }

    fn connection() -> Vec<u8> {
        let frames = [
            (4, 6),
            (1, 100),
            (RST_STREAM, 4),
            (0, 0),
            (RST_STREAM, 4),
            (6, 8),
            (1, 200),
            (RST_STREAM, 4),
        ];
        let frames = frames.map(|(kind, length)| frame(kind, length)).concat();
        [vec![RST_STREAM; PREFACE.len()], frames].concat()
    }

    #[test]
    fn resets_are_counted_however_the_bytes_arrive() {
        let bytes = connection();
        for size in 1..=bytes.len() {
            let mut resets = Resets::new(Instant::now());
            let counted: u32 = bytes.chunks(size).map(|part| resets.count(part)).sum();
            assert_eq!(counted, 3, "in parts of {size} bytes");
        }
    }

    #[test]
    fn a_connection_bears_a_thousand_resets_a_second_and_no_flood() {
        let began = Instant::now();
        let mut resets = Resets::new(began);
        resets.skip = 0;
        let reset = frame(RST_STREAM, 4);
        for number in 0..60_000 {
            assert!(
                resets.read(&reset, began + Duration::from_millis(number)),
                "{number}"
            );
        }
        let later = began + Duration::from_secs(100);
        let borne = (0..100_000).take_while(|_| resets.read(&reset, later)).count();
        assert_eq!(borne, 4_000);
    }
}
