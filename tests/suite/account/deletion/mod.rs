//! DeleteAccount and GetDeletion: both services erase the person, and a receipt stays.

mod batches;
mod by_person;
mod by_service;
mod external_provider;
mod late_copies;
mod outages;
mod races;
pub(crate) mod rows;

use haven_proto::identity::v1::{DeleteAccountRequest, Deletion, DeletionState, GetDeletionRequest};
use haven_testkit::{Client, Person, Stack, random};
use tonic::Status;

use crate::{
    eventually::eventually,
    retry::{retry_call, with_long_timeout},
};

/// Returns a person's request to delete their own account, under a new request id.
pub(crate) fn deletion_by(person: &Person) -> DeleteAccountRequest {
    DeleteAccountRequest {
        user_id: String::new(),
        password: person.password.clone(),
        request_id: random::uuid().to_string(),
    }
}

/// Returns a service's request to delete the person's account, under a new request id.
fn deletion_of(person: &Person) -> DeleteAccountRequest {
    DeleteAccountRequest {
        user_id: person.id.to_string(),
        password: String::new(),
        request_id: random::uuid().to_string(),
    }
}

/// Calls DeleteAccount without retries.
async fn delete_once(client: Client, request: DeleteAccountRequest) -> Result<Deletion, Status> {
    let answer = client
        .account()
        .delete_account(with_long_timeout(request))
        .await?;
    Ok(answer.into_inner().deletion.unwrap())
}

/// Calls DeleteAccount with retries.
pub(crate) async fn delete(client: &Client, request: &DeleteAccountRequest) -> Result<Deletion, Status> {
    let mut accounts = client.account();
    let answer = retry_call(request.clone(), async |request| {
        accounts.delete_account(request).await
    });
    Ok(answer.await?.deletion.unwrap())
}

/// Calls GetDeletion as a service.
async fn deletion(stack: &Stack, person: &Person) -> Result<Deletion, Status> {
    let request = GetDeletionRequest {
        user_id: person.id.to_string(),
    };
    let backend = stack.service("backend").unwrap();
    let answer = backend.account().get_deletion(request).await?;
    Ok(answer.into_inner().deletion.unwrap())
}

/// Waits until the deletion is done, and returns it.
pub(crate) async fn done(stack: &Stack, person: &Person) -> Deletion {
    let mut last = None;
    eventually("the deletion is done", async || {
        let deletion = deletion(stack, person).await.unwrap();
        let is_done = deletion.state() == DeletionState::Done;
        last = Some(deletion);
        is_done
    })
    .await;
    last.unwrap()
}
