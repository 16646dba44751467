//! Two replicas in the middle of a rotation, with rings of another order.

use futures_util::future::join_all;
use haven_proto::{data::v1::RegisterDeviceRequest, identity::v1::RefreshSessionRequest};
use haven_testkit::{Client, Stack, port::Port, random};

use super::{Rings, restart};
use crate::{
    replica::replica,
    retry::retry_call,
    status::reason,
    test_device::{Device, registration},
};

#[tokio::test]
async fn two_replicas_answer_refreshes_with_one_token_with_one_successor() {
    let mut stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let rings = Rings::of(&stack.identity);
    restart(&mut stack.identity, &rings.new_last()).await.unwrap();
    let ports = [(); 3].map(|()| Port::reserve().unwrap());
    stack
        .identity
        .variables
        .insert("SECRET_KEY".to_owned(), rings.new_first());
    let other = replica(&stack.identity, &ports).await;
    let clients = [stack.identity.listeners, other.listeners]
        .map(|identity| Client::new(&stack.certificates, None, identity, stack.data.listeners).unwrap());

    let mut token = person.refresh_token;
    for _ in 0..5 {
        let refreshes = (0..8).map(|call: usize| {
            let mut sessions = clients[call % 2].session();
            let request = RefreshSessionRequest {
                refresh_token: token.clone(),
            };
            async move {
                let refreshed = retry_call(request, async |request| sessions.refresh_session(request).await);
                refreshed.await.unwrap().refresh_token
            }
        });
        let mut successors = join_all(refreshes).await;
        successors.sort_unstable();
        successors.dedup();
        assert_eq!(successors.len(), 1, "one successor");
        token = successors.remove(0);
    }
}

#[tokio::test]
async fn two_replicas_register_an_installation_once() {
    let mut stack = Stack::start().await.unwrap();
    let rings = Rings::of(&stack.data);
    restart(&mut stack.data, &rings.new_last()).await.unwrap();
    let ports = [(); 3].map(|()| Port::reserve().unwrap());
    stack
        .data
        .variables
        .insert("SECRET_KEY".to_owned(), rings.new_first());
    let other = replica(&stack.data, &ports).await;
    let device = Device::invent(&stack).await.unwrap();
    let clients = [stack.data.listeners, other.listeners].map(|data| {
        let client = Client::new(&stack.certificates, None, stack.identity.listeners, data).unwrap();
        client.with_token(&device.person.token).unwrap()
    });
    for _ in 0..3 {
        let registration = registration(&device.secret).unwrap();
        let calls = (0..4).map(|call: usize| {
            let mut devices = clients[call % 2].device();
            let request = RegisterDeviceRequest {
                request_id: random::uuid().to_string(),
                ..registration.clone()
            };
            async move { retry_call(request, async |request| devices.register_device(request).await).await }
        });
        let outcomes = join_all(calls).await;
        let registered = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(registered, 1, "{outcomes:?}");
        for outcome in outcomes {
            if let Err(status) = outcome {
                assert_eq!(reason(&status), "DEVICE_EXISTS");
            }
        }
    }
}
