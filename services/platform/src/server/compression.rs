//! Compression of answers: of the RPCs that are listed for it, if the client can read it, and of each message that gets smaller.
//!
//! tonic compresses each message of a service or none, however small, and applies the limit of an answer after that. So this
//! layer does it, with the limit before. tonic decompresses requests, with the limit of requests after.
//!
//! The size of a compressed answer tells something about its content to a person who sees the encrypted connection, and more if
//! that person can choose a part of the content (CRIME, BREACH). An RPC can be listed if its answers belong to one person, and
//! hold neither a credential nor text that others choose.

use std::{
    collections::HashSet,
    io::{self, Write},
    sync::Arc,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use bytes::{Buf, BufMut, BytesMut};
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use super::{
    layer::{Chain, Next},
    protocol::ACCEPT_ENCODING,
    response_body::MappedBody,
    status::STATUS,
};
use crate::access::{Access, AccessTable};

/// The size from which a message is compressed, in bytes. Below it hardly anything is saved.
const MIN_BYTES: usize = 1024;

/// The size of the prefix of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The header with the compression of an answer.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// A compression of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Zstd,
}

/// The RPCs with answers that may be compressed, by path.
#[derive(Clone, Debug)]
pub(super) struct Compression(Arc<HashSet<String>>);

impl Compression {
    /// Creates the state for RPCs by name, such as `haven.data.v1.ConversationService/ListMessages`. Fails with the name of one
    /// that does not exist, or that admits others than users: their answers have credentials, or are about several people.
    pub(super) fn new(rpcs: &[&'static str], access: &AccessTable) -> Result<Self, &'static str> {
        let path = |rpc: &&'static str| {
            let path = format!("/{rpc}");
            match access.find(&path).map(|rpc| rpc.access) {
                Some(Access::User) => Ok(path),
                _ => Err(*rpc),
            }
        };
        let paths: Result<_, _> = rpcs.iter().map(path).collect();
        paths.map(|paths| Self(Arc::new(paths)))
    }

    fn choose(&self, request: &Request) -> Option<Encoding> {
        let may = self.0.contains(request.uri().path());
        may.then(|| Encoding::choose(request.headers())).flatten()
    }
}

/// The layer: compresses the messages of the answer.
pub(super) async fn compress_answer<C: Chain>(
    compression: Arc<Compression>,
    request: Request,
    next: Next<C>,
) -> Response {
    let encoding = compression.choose(&request);
    let mut response = next.run(request).await;
    // A call that failed before its first message has its status there.
    let Some(encoding) = encoding.filter(|_| !response.headers().contains_key(&STATUS)) else {
        return response;
    };
    response
        .headers_mut()
        .insert(ENCODING, HeaderValue::from_static(encoding.name()));
    response.map(|body| {
        Body::new(MappedBody::new(body, move |frame: Frame<Bytes>| {
            frame.map_data(|messages| compressed(messages, encoding))
        }))
    })
}

impl Encoding {
    /// Returns the best compression that the client of a request with these headers can read.
    fn choose(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(ACCEPT_ENCODING).iter();
        let accepted: Vec<_> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(',').map(str::trim))
            .collect();
        [Self::Zstd, Self::Gzip]
            .into_iter()
            .find(|encoding| accepted.contains(&encoding.name()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn compress(self, message: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(message)?;
                encoder.finish()
            }
            Self::Zstd => zstd::bulk::compress(message, 1),
        }
    }
}

/// Compresses each of `messages` that gets smaller. tonic gives whole messages; anything else stays as it is.
fn compressed(mut messages: Bytes, encoding: Encoding) -> Bytes {
    let mut all = BytesMut::new();
    while let Some(length) = length_of_first(&messages) {
        let mut message = messages.split_to(PREFIX + length);
        let smaller = (length >= MIN_BYTES)
            .then(|| encoding.compress(&message[PREFIX..]).ok())
            .flatten()
            .filter(|compressed| compressed.len() < length);
        match smaller.map(|compressed| (u32::try_from(compressed.len()), compressed)) {
            Some((Ok(length), compressed)) => {
                all.put_u8(1);
                all.put_u32(length);
                all.put_slice(&compressed);
            }
            _ if all.is_empty() && messages.is_empty() => return message,
            _ => all.put(&mut message),
        }
    }
    all.put(messages);
    all.freeze()
}

/// Returns the length of the first message, if it is there as a whole, and is not compressed.
fn length_of_first(messages: &Bytes) -> Option<usize> {
    let mut prefix = messages.get(..PREFIX)?;
    if prefix.get_u8() != 0 {
        return None;
    }
    let length = usize::try_from(prefix.get_u32()).ok()?;
    (messages.len() >= PREFIX + length).then_some(length)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn message(content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[0], &length[..], content].concat()
    }

    #[test]
    fn only_messages_that_get_smaller_are_compressed() {
        let text = "A message of a person. ".repeat(100).into_bytes();
        let digests = (0..100_u8).map(|n| ring::digest::digest(&ring::digest::SHA256, &[n]));
        let noise: Vec<u8> = digests.flat_map(|digest| digest.as_ref().to_vec()).collect();
        let small = b"a small one".repeat(20);
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let all = [message(&text), message(&small), message(&noise), message(&text)].concat();
            let mut answer = compressed(Bytes::from(all), encoding);
            for (content, expected) in [(&text, 1), (&small, 0), (&noise, 0), (&text, 1)] {
                let (flag, length) = (answer.get_u8(), answer.get_u32() as usize);
                let sent = answer.split_to(length);
                assert_eq!(flag, expected, "{encoding:?}");
                let read = match (flag, encoding) {
                    (0, _) => sent.to_vec(),
                    (_, Encoding::Zstd) => zstd::decode_all(&sent[..]).unwrap(),
                    (_, Encoding::Gzip) => {
                        let mut read = Vec::new();
                        flate2::read::GzDecoder::new(&sent[..])
                            .read_to_end(&mut read)
                            .unwrap();
                        read
                    }
                };
                assert_eq!(&read, content);
            }
            assert!(answer.is_empty());
            // What is not a whole message stays as it is.
            for odd in [&b"abc"[..], &[0, 0, 0, 0, 9, 1], &[1, 0, 0, 0, 0]] {
                assert_eq!(compressed(Bytes::copy_from_slice(odd), encoding), odd);
            }
        }
    }

    #[test]
    fn the_best_compression_that_the_client_reads_is_chosen() {
        for (accepted, expected) in [
            (&["identity, deflate, gzip"][..], Some(Encoding::Gzip)),
            (&["gzip,zstd"], Some(Encoding::Zstd)),
            (&["gzip", "zstd"], Some(Encoding::Zstd)),
            (&["identity,deflate"], None),
            (&["gzipped"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in accepted {
                headers.append(ACCEPT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(Encoding::choose(&headers), expected, "{accepted:?}");
        }
    }
}
