//! The protocol that a client speaks, by the first bytes of its connection.

use super::resets::PREFACE;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// So many bytes came, and they are the beginning of the preface of HTTP/2.
    Unknown(usize),
    /// HTTP/2.
    Http2,
    /// HTTP/1.1, or no protocol at all.
    Http1,
}

impl Spoken {
    /// Returns what is known after the next bytes.
    pub(super) fn after(self, bytes: &[u8]) -> Self {
        let Self::Unknown(seen) = self else {
            return self;
        };
        let missing = &PREFACE[seen..];
        let new = bytes.len().min(missing.len());
        match (missing.starts_with(&bytes[..new]), new == missing.len()) {
            (true, true) => Self::Http2,
            (true, false) => Self::Unknown(seen + new),
            (false, _) => Self::Http1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(bytes: &[u8], size: usize) -> Spoken {
        bytes.chunks(size).fold(Spoken::Unknown(0), Spoken::after)
    }

    #[test]
    fn the_first_bytes_decide_however_they_arrive() {
        let preface = [&PREFACE[..], b"frames"].concat();
        for size in 1..=preface.len() {
            assert_eq!(spoken(&preface, size), Spoken::Http2, "{size}");
            assert_eq!(spoken(&PREFACE[..23], size), Spoken::Unknown(23), "{size}");
            for other in [
                &b"POST / HTTP/1.1\r\n"[..],
                b"PRI * HTTP/1.1\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rx",
                b"\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"\0",
            ] {
                assert_eq!(spoken(other, size), Spoken::Http1, "{size}");
            }
        }
        assert_eq!(spoken(b"", 1), Spoken::Unknown(0));
    }
}
