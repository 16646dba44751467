//! Concurrent changes of devices: a retried request is applied once, and one of several conflicting requests is.

use futures_util::future::join_all;
use haven_proto::data::v1::{Device, DeviceStatus, RegisterDeviceRequest};
use haven_testkit::{Stack, random};
use tonic::Status;

use super::{
    CROWD, counts, list_all, new_person, new_registration, register, revoke, revoke_request, rotate,
    rotate_request, suspend, suspend_request,
};
use crate::status::{metadata, reason};

/// Returns the devices of the successful answers, and the reasons of the others.
fn outcomes(answers: Vec<Result<Device, Status>>) -> (Vec<Device>, Vec<String>) {
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(device) => made.push(device),
            Err(status) => refused.push(reason(&status)),
        }
    }
    (made, refused)
}

#[tokio::test]
async fn concurrent_retries_make_one_change() {
    let stack = Stack::start().await.unwrap();
    let ada = new_person(&stack).await;
    let request = new_registration();
    let answers = join_all((0..CROWD).map(|_| register(&ada, request.clone()))).await;
    let device = list_all(&ada).await.pop().unwrap();
    assert_eq!(outcomes(answers), (vec![device.clone(); CROWD], vec![]));
    assert_eq!(counts(&stack, &device).await, "1 1 1");

    let request = rotate_request(&device);
    let answers = join_all((0..CROWD).map(|_| rotate(&ada, request.clone()))).await;
    let device = list_all(&ada).await.pop().unwrap();
    assert_eq!(device.key_version, 2);
    assert_eq!(outcomes(answers), (vec![device.clone(); CROWD], vec![]));
    assert_eq!(counts(&stack, &device).await, "1 1 2");

    let request = suspend_request(&device);
    let answers = join_all((0..CROWD).map(|_| suspend(&ada, request.clone()))).await;
    let device = list_all(&ada).await.pop().unwrap();
    assert_eq!(outcomes(answers), (vec![device.clone(); CROWD], vec![]));
    assert_eq!(counts(&stack, &device).await, "1 1 3");

    let request = revoke_request(&device);
    let answers = join_all((0..CROWD).map(|_| revoke(&ada, request.clone()))).await;
    let device = list_all(&ada).await.pop().unwrap();
    assert_eq!(outcomes(answers), (vec![device.clone(); CROWD], vec![]));
    assert_eq!(counts(&stack, &device).await, "0 1 4");
}

#[tokio::test]
async fn one_of_many_concurrent_registrations_of_an_installation_succeeds() {
    let stack = Stack::start().await.unwrap();
    let ada = new_person(&stack).await;
    let installation = random::uuid().to_string();
    let attempts = (0..CROWD).map(|_| {
        let request = RegisterDeviceRequest {
            installation_id: installation.clone(),
            ..new_registration()
        };
        register(&ada, request)
    });
    let (made, refused) = outcomes(join_all(attempts).await);
    assert_eq!(list_all(&ada).await, made);
    assert_eq!(
        (made.len(), refused),
        (1, vec!["DEVICE_EXISTS".to_owned(); CROWD - 1])
    );
    assert_eq!(counts(&stack, &made[0]).await, "1 1 1");
}

#[tokio::test]
async fn one_of_many_concurrent_rotations_of_a_key_version_succeeds() {
    let stack = Stack::start().await.unwrap();
    let ada = new_person(&stack).await;
    let mut device = register(&ada, new_registration()).await.unwrap();
    for version in 2..4 {
        let attempts = join_all((0..CROWD).map(|_| rotate(&ada, rotate_request(&device)))).await;
        let current = version.to_string();
        for status in attempts.iter().filter_map(|attempt| attempt.as_ref().err()) {
            assert_eq!(metadata(status, "current_version"), current);
        }
        let (made, refused) = outcomes(attempts);
        assert_eq!(list_all(&ada).await, made);
        assert_eq!(
            (made.len(), refused),
            (1, vec!["VERSION_CONFLICT".to_owned(); CROWD - 1])
        );
        device = made[0].clone();
        assert_eq!(device.key_version, version);
    }
}

#[tokio::test]
async fn a_revoked_device_stays_revoked_under_concurrent_changes() {
    let stack = Stack::start().await.unwrap();
    let ada = new_person(&stack).await;
    for round in 1..=3 {
        let device = register(&ada, new_registration()).await.unwrap();
        let (rotated, suspended, revoked) = tokio::join!(
            join_all((0..4).map(|_| rotate(&ada, rotate_request(&device)))),
            join_all((0..4).map(|_| suspend(&ada, suspend_request(&device)))),
            join_all((0..4).map(|_| revoke(&ada, revoke_request(&device)))),
        );
        assert!(outcomes(rotated).0.len() <= 1);
        let (_, refused) = outcomes(suspended);
        assert!(
            refused.iter().all(|reason| reason == "DEVICE_INACTIVE"),
            "{refused:?}"
        );
        let (revoked, refused) = outcomes(revoked);
        assert_eq!(refused, [""; 0]);
        let last = list_all(&ada).await.pop().unwrap();
        assert_eq!(last.status(), DeviceStatus::Revoked);
        assert_eq!(revoked, vec![last; 4]);
        assert!(counts(&stack, &device).await.starts_with(&format!("0 {round} ")));
    }
}

#[tokio::test]
async fn a_request_id_used_concurrently_for_many_requests_is_applied_once() {
    let stack = Stack::start().await.unwrap();
    let ada = new_person(&stack).await;
    let mut devices = Vec::new();
    for _ in 0..8 {
        devices.push(register(&ada, new_registration()).await.unwrap());
    }
    let id = random::uuid().to_string();
    let attempts = devices.iter().enumerate().map(async |(index, device)| {
        let (mut suspending, mut revoking) = (suspend_request(device), revoke_request(device));
        suspending.request_id.clone_from(&id);
        revoking.request_id.clone_from(&id);
        match index % 2 {
            0 => suspend(&ada, suspending).await,
            _ => revoke(&ada, revoking).await,
        }
    });
    let (made, refused) = outcomes(join_all(attempts).await);
    assert_eq!(
        (made.len(), refused),
        (1, vec!["REQUEST_ID_REUSED".to_owned(); 7])
    );
    let changed: Vec<_> = list_all(&ada)
        .await
        .into_iter()
        .filter(|device| device.status() != DeviceStatus::Active)
        .collect();
    assert_eq!(changed, made);
}
