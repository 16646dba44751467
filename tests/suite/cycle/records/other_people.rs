//! Records of another person are not found.

use haven_proto::data::v1::{CreateRecordRequest, ListRecordsRequest};
use haven_testkit::Stack;

use super::{create, delete, delete_request, get, list_all, store, update};
use crate::{status::reason, test_device::Device};

#[tokio::test]
async fn a_record_of_another_person_is_not_found() {
    let stack = Stack::shared().await.unwrap();
    let ada = Device::invent(stack).await.unwrap();
    let bob = Device::invent(stack).await.unwrap();
    let id = store(&ada, "hello").await;
    let record = get(&ada.client, id).await.unwrap();
    let refused = [
        get(&bob.client, id).await.map(drop),
        update(&bob.client, bob.update(id, 1, "goodbye").unwrap())
            .await
            .map(drop),
        delete(&bob.client, delete_request(&bob, id, 1)).await.map(drop),
    ];
    for status in refused {
        assert_eq!(reason(&status.unwrap_err()), "NOT_FOUND");
    }
    let (his, _) = list_all(&bob.client, ListRecordsRequest::default()).await;
    assert_eq!(his, []);
    let (hers, _) = list_all(&ada.client, ListRecordsRequest::default()).await;
    assert_eq!(hers, [record]);
}

#[tokio::test]
async fn two_people_can_use_the_same_ids_and_nonces() {
    let stack = Stack::shared().await.unwrap();
    let ada = Device::invent(stack).await.unwrap();
    let bob = Device::invent(stack).await.unwrap();
    let id = store(&ada, "Ada's").await;
    // Bob's request has the record id, request id and nonce of Ada's.
    let hers = ada.create(id, "Ada's").unwrap();
    let his = bob.create(id, "Bob's").unwrap();
    let mut envelope = his.crypto_envelope.clone().unwrap();
    envelope.nonce = get(&ada.client, id).await.unwrap().crypto_envelope.unwrap().nonce;
    let same = CreateRecordRequest {
        crypto_envelope: Some(envelope),
        request_id: hers.request_id.clone(),
        ..his
    };
    let stored = create(&bob.client, same).await.unwrap();
    assert_eq!((stored.version, stored.change_number), (1, 1));
    delete(&bob.client, delete_request(&bob, id, 1)).await.unwrap();
    let record = get(&ada.client, id).await.unwrap();
    assert_eq!(ada.open(&record).unwrap(), "Ada's");
    // Bob's key does not decrypt Ada's record.
    assert!(bob.open(&record).is_err());
}
