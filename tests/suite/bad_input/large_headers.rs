//! Large headers of many calls at once: each gets an answer, and they do not stay in memory.

use std::fs;

use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

use super::Served;
use crate::raw_socket::{frame, frames, header_block, kind, opening, tls};

/// The number of calls: as many as can be open on a connection.
const CALLS: u32 = 1_000;

/// The growth of the process that is allowed. All headers together have 60 MB.
const GROWTH: u64 = 24 * 1024;

/// Returns the largest resident memory of a process so far, in KiB.
pub(super) fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Returns the frames of a call with headers of 60 KB.
fn call(stream: u32) -> Vec<u8> {
    let large = "x".repeat(60_000);
    let block = header_block(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/haven.identity.v1.SessionService/GetSigningKeys"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-large", &large),
    ]);
    let parts: Vec<_> = block.chunks(16_000).collect();
    let mut call = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let (kind, end_stream) = match number {
            0 => (kind::HEADERS, 0x1),
            _ => (kind::CONTINUATION, 0),
        };
        let end_headers = if number + 1 == parts.len() { 0x4 } else { 0 };
        call.extend(frame(kind, end_stream | end_headers, stream, part));
    }
    call
}

#[tokio::test]
async fn large_headers_of_many_calls_do_not_stay_in_memory() {
    let served = Served::start().await;
    let identity = &served.stack.identity;
    let stream = tls(
        &served.stack.certificates,
        identity.listeners.api,
        "localhost",
        &["h2"],
    )
    .await;
    let (mut incoming, mut outgoing) = split(stream.unwrap());
    // The first calls of a process use memory that later calls use again.
    served.still_serves("before").await;
    let before = peak(identity.pid().unwrap());
    let send = async {
        outgoing.write_all(&opening()).await.unwrap();
        for number in 0..CALLS {
            outgoing.write_all(&call(2 * number + 1)).await.unwrap();
        }
        outgoing.flush().await.unwrap();
    };
    let receive = async {
        let (mut received, mut answers) = (Vec::new(), 0);
        let mut buffer = vec![0; 65_536];
        while answers < CALLS as usize {
            let read = incoming.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the connection was closed after {answers} answers");
            received.extend_from_slice(&buffer[..read]);
            answers = frames(&received)
                .iter()
                .filter(|(kind, _)| *kind == kind::HEADERS)
                .count();
        }
    };
    tokio::join!(send, receive);
    let growth = peak(identity.pid().unwrap()) - before;
    eprintln!("the process grew by {growth} KiB");
    assert!(growth < GROWTH, "the process grew by {growth} KiB");
    served.still_serves("large headers").await;
}
