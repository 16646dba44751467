//! Payloads that are no ciphertext, in every RPC that takes a payload.

use anyhow::Result;
use haven_testkit::Stack;

use super::{
    envelope_rules::assert_refused,
    payload_calls::{PayloadRpc, Sealed},
};
use crate::test_device::Device;

#[tokio::test]
async fn every_rpc_refuses_a_payload_that_is_no_ciphertext() -> Result<()> {
    let stack = Stack::shared().await?;
    let device = Device::invent(stack).await?;
    for rpc in PayloadRpc::ALL {
        let tag = [0xff; 16];
        let mut ascii = vec![b'\x01'; 300];
        ascii[256..].fill(0xff);
        for (what, payload, name) in [
            ("nothing", Vec::new(), "REQUIRED"),
            ("15 bytes", vec![0xff; 15], "PAYLOAD_TOO_SHORT"),
            (
                "too much",
                vec![0xff; rpc.max_payload_size() + 1],
                "PAYLOAD_TOO_LARGE",
            ),
            ("a text", b"Day 1: cramps.  ".to_vec(), "PAYLOAD_NOT_ENCRYPTED"),
            (
                "base64",
                b"RGF5IDE6IGNyYW1wcy4=".to_vec(),
                "PAYLOAD_NOT_ENCRYPTED",
            ),
            (
                "a text that is no ASCII",
                "День 1: спазмы.".into(),
                "PAYLOAD_NOT_ENCRYPTED",
            ),
            (
                "a text with a tag",
                [b"Day 1: cramps.\r\n", tag.as_slice()].concat(),
                "PAYLOAD_NOT_ENCRYPTED",
            ),
            // Postgres would refuse them too, but with no violation.
            ("bytes below 128", ascii, "PAYLOAD_NOT_ENCRYPTED"),
        ] {
            let mut sealed = Sealed::by(&device)?;
            sealed.payload = payload;
            assert_refused(&device, rpc, sealed, what, rpc.payload_path(), name).await;
        }
    }
    Ok(())
}
