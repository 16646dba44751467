//! Concurrent calls of PutPreferences: each version is made by one of them.

use futures_util::future::join_all;
use haven_testkit::Stack;

use super::{get, open, put, put_request};
use crate::{
    status::{metadata, reason},
    superuser_sql::scalar,
    test_device::Device,
};

/// Number of concurrent calls.
const CROWD: usize = 12;

#[tokio::test]
async fn one_of_many_concurrent_puts_over_a_version_succeeds() {
    let stack = Stack::start().await.unwrap();
    let first = Device::invent(&stack).await.unwrap();
    let second = first.another().await.unwrap();
    for seen in 0..4 {
        let attempts = (0..CROWD).map(async |index| {
            let device = [&first, &second][index % 2];
            let content = format!("{seen} {index}");
            let request = put_request(device, seen, &content).unwrap();
            (content, put(&device.client, request).await)
        });
        let mut made = Vec::new();
        for (content, outcome) in join_all(attempts).await {
            match outcome {
                Ok(stored) => made.push((content, stored)),
                Err(status) => {
                    assert_eq!(reason(&status), "VERSION_CONFLICT");
                    assert_eq!(metadata(&status, "current_version"), (seen + 1).to_string());
                }
            }
        }
        let stored = get(&first.client).await.unwrap();
        let [(content, answer)] = made.as_slice() else {
            panic!("{made:?}");
        };
        assert_eq!(&open(&first, &stored).unwrap(), content);
        assert_eq!((stored.version, answer.version), (seen + 1, seen + 1));
        assert_eq!(stored.update_time, answer.update_time);
    }
}

#[tokio::test]
async fn concurrent_retries_make_one_change() {
    let stack = Stack::start().await.unwrap();
    let device = Device::invent(&stack).await.unwrap();
    for seen in 0..3 {
        let request = put_request(&device, seen, "dark").unwrap();
        let attempts = (0..CROWD).map(|_| put(&device.client, request.clone()));
        let answers: Vec<_> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers[0].version, seen + 1);
        assert!(answers.iter().all(|answer| answer == &answers[0]));
    }
    let kept: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', version, (SELECT count(*) FROM data.envelope_nonces),
            (SELECT count(*) FROM data.requests WHERE method = 'PutPreferences')) FROM data.encrypted_user_prefs",
    )
    .await;
    assert_eq!(kept, "3 3 3");
}
