//! Compressed requests that are far larger when they are decompressed: each is refused, and they do not take memory together.

use std::io::Write;

use super::{Served, large_headers::peak};
use crate::{
    raw_call::{prefixed, request},
    status::{metadata, reason},
};

/// The number of requests at once.
const CALLS: usize = 60;

/// The growth of the process that is allowed, in KiB. A request has at most 1 MiB, compressed or not.
const GROWTH: u64 = 96 * 1024;

/// Returns 200 MB of zeros in a few KB, in a frame that asks its reader for a window of 128 MiB: the largest that zstd's readers
/// take.
fn bomb() -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..200 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compression_bombs_are_refused_and_take_no_memory_together() {
    let served = Served::start().await;
    let identity = &served.stack.identity;
    let bomb = bomb();
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    served.still_serves("before").await;
    let before = peak(identity.pid().unwrap());
    let calls = (0..CALLS).map(|_| {
        let call = http::Request::post("https://localhost/haven.identity.v1.SessionService/SignIn")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-encoding", "zstd")
            .body(prefixed(1, bomb.len(), &bomb))
            .unwrap();
        tokio::spawn(request(served.client.connection("identity"), call))
    });
    let calls: Vec<_> = calls.collect();
    for call in calls {
        let (_, status, _) = call.await.unwrap();
        let status = status.unwrap();
        assert_eq!(reason(&status), "MESSAGE_TOO_LARGE");
        assert_eq!(
            (metadata(&status, "message"), metadata(&status, "limit_bytes")),
            ("REQUEST".into(), "1048576".into())
        );
    }
    let growth = peak(identity.pid().unwrap()) - before;
    eprintln!("the process grew by {growth} KiB");
    assert!(growth < GROWTH, "the process grew by {growth} KiB");
    served.still_serves("compression bombs").await;
}
