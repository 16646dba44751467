//! Deleting an account: everything of its person goes in both services, and a receipt stays.

mod batches;
mod by_person;
mod by_service;
mod external_provider;
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

/// What a person sends to have their own account deleted, under a new request id.
pub(crate) fn deletion_by(person: &Person) -> DeleteAccountRequest {
    DeleteAccountRequest {
        user_id: String::new(),
        password: person.password.clone(),
        request_id: random::uuid().to_string(),
    }
}

/// What a service sends to have somebody's account deleted, under a new request id.
fn deletion_of(person: &Person) -> DeleteAccountRequest {
    DeleteAccountRequest {
        user_id: person.id.to_string(),
        password: String::new(),
        request_id: random::uuid().to_string(),
    }
}

/// Deletes, and does not try again, whatever comes of it.
async fn delete_once(client: Client, request: DeleteAccountRequest) -> Result<Deletion, Status> {
    let answer = client
        .account()
        .delete_account(with_long_timeout(request))
        .await?;
    Ok(answer.into_inner().deletion.unwrap())
}

pub(crate) async fn delete(client: &Client, request: &DeleteAccountRequest) -> Result<Deletion, Status> {
    let mut accounts = client.account();
    let answer = retry_call(request.clone(), async |request| {
        accounts.delete_account(request).await
    });
    Ok(answer.await?.deletion.unwrap())
}

/// What a service is told about the deletion of somebody's account.
async fn deletion(stack: &Stack, person: &Person) -> Result<Deletion, Status> {
    let request = GetDeletionRequest {
        user_id: person.id.to_string(),
    };
    let backend = stack.service("backend").unwrap();
    let answer = backend.account().get_deletion(request).await?;
    Ok(answer.into_inner().deletion.unwrap())
}

/// Waits until the deletion of somebody's account is done, and answers it.
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
