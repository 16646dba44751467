//! The head of a request of HTTP/1.1, which is its first line and its headers: how many of its bytes came.

/// The beginning of an interim answer: the client may send the body of its request (RFC 9110, section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 ";

/// The head that is arriving. It ends with an empty line, and the next one begins after the answer.
#[derive(Debug, Default)]
pub(super) struct Http1Head {
    bytes: usize,
    /// Whether more came than empty lines, which are skipped before the first line (RFC 9112, section 2.2).
    has_begun: bool,
    /// The number of line ends that came without anything in between.
    line_ends: usize,
}

impl Http1Head {
    /// Reads the next bytes of the connection, and returns the size of the head as far as it came; 0 after its end, because a
    /// body has other limits.
    pub(super) fn read(&mut self, bytes: &[u8]) -> usize {
        for byte in bytes {
            if self.is_whole() {
                break;
            }
            self.bytes += 1;
            match byte {
                b'\n' if self.has_begun => self.line_ends += 1,
                b'\r' | b'\n' => {}
                _ => {
                    self.has_begun = true;
                    self.line_ends = 0;
                }
            }
        }
        if self.is_whole() { 0 } else { self.bytes }
    }

    /// Notes that the server sends `bytes`. After an answer the next head begins.
    pub(super) fn answer(&mut self, bytes: &[u8]) {
        if self.is_whole() && !bytes.starts_with(CONTINUE) {
            *self = Self::default();
        }
    }

    fn is_whole(&self) -> bool {
        self.line_ends == 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_however_it_arrives() {
        for head in [
            &b"POST / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
            b"POST / HTTP/1.1\nhost: a\n\n",
            b"\r\n\r\n\n\nPOST / HTTP/1.1\r\nhost: a\r\n\r\n",
        ] {
            for size in 1..=head.len() {
                let mut state = Http1Head::default();
                let mut seen = 0;
                for part in head.chunks(size) {
                    seen += part.len();
                    let expected = if seen == head.len() { 0 } else { seen };
                    assert_eq!(state.read(part), expected, "{size}");
                }
                state.answer(b"HTTP/1.1 100 Continue\r\n\r\n");
                assert_eq!(state.read(&[7; 100_000]), 0, "a body is not a head");
                state.answer(b"HTTP/1.1 200 OK\r\n");
                assert_eq!(state.read(b"GET"), 3);
            }
        }
    }

    #[test]
    fn a_head_without_an_end_grows() {
        let mut state = Http1Head::default();
        for round in 1..=100 {
            assert_eq!(state.read(b"x-header: value\r\n"), round * 17);
            state.answer(b"HTTP/1.1 200 OK\r\n");
        }
    }
}
