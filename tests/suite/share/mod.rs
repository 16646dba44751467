//! `haven.data.v1.ShareService`.

mod concurrent_openings;
mod create_share;
mod create_share_races;
mod ended_shares;
mod list_and_revoke_shares;
mod open_share;
mod sql_functions;
mod timing;

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use haven_proto::data::v1::{
    CreateShareRequest, CreateShareResponse, DeviceType, EncryptionAlgorithm, ListShareAccessRequest,
    ListSharesRequest, OpenShareRequest, OpenShareResponse, RevokeShareRequest, Share, ShareAccess,
    ShareAccessOutcome,
};
use haven_testkit::{
    Client, Person, Stack,
    encryption::{ContentBinding, Kind, Secret},
    random,
};
use tonic::Status;
use uuid::Uuid;

use crate::{retry::retry_for, test_device::at};

/// Time limit of one wait, also on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(200);

/// The plaintext of a share.
const CONTENT: &str = "A message for the doctor only";

/// A person who makes shares.
#[derive(Clone)]
struct Sharer {
    person: Person,
    client: Client,
    /// The key of the shares, which goes to their recipients, but not to the server.
    secret: Secret,
}

/// A share that was created.
struct CreatedShare {
    id: String,
    token: String,
}

impl Sharer {
    /// Signs a new person up.
    async fn invent(stack: &Stack) -> Self {
        let person = stack.person().await.unwrap();
        Self {
            client: stack.user(&person).unwrap(),
            person,
            secret: Secret::generate(),
        }
    }

    /// Returns a request to share [`CONTENT`] for an hour and `times` openings.
    fn share_request(&self, times: i32) -> CreateShareRequest {
        let id = random::uuid();
        let algorithm = EncryptionAlgorithm::Xchacha20Poly1305;
        let (encrypted_share_data, envelope) = self
            .secret
            .seal(CONTENT.as_bytes(), self.binding(id), algorithm, random::uuid(), 1)
            .unwrap();
        CreateShareRequest {
            share_id: String::new(),
            encrypted_share_data,
            crypto_envelope: Some(envelope),
            expire_time: Some(at(Utc::now() + TimeDelta::hours(1))),
            max_access_count: times,
            passcode: String::new(),
            request_id: id.to_string(),
        }
    }

    /// Returns such a request with a passcode.
    fn share_request_with_passcode(&self, passcode: &str, times: i32) -> CreateShareRequest {
        CreateShareRequest {
            passcode: passcode.to_owned(),
            ..self.share_request(times)
        }
    }

    /// Returns the binding of a share.
    fn binding(&self, share: Uuid) -> ContentBinding {
        ContentBinding {
            kind: Kind::Share,
            user_id: self.person.id,
            record_id: share,
            version: 1,
        }
    }

    /// Calls CreateShare once, without retries.
    async fn create(&self, request: CreateShareRequest) -> Result<CreateShareResponse, Status> {
        Ok(self.client.share().create_share(request).await?.into_inner())
    }

    /// Creates a share. Fails when the call is refused.
    async fn create_share(&self, request: CreateShareRequest) -> CreatedShare {
        let answer = self.create(request).await.unwrap();
        CreatedShare {
            id: answer.share.unwrap().share_id,
            token: answer.token,
        }
    }

    /// Decrypts the content of an opened share.
    fn read(&self, opened: &OpenShareResponse) -> String {
        assert_eq!(opened.user_id, self.person.id.to_string());
        let binding = self.binding(opened.share_id.parse().unwrap());
        let envelope = opened.crypto_envelope.as_ref().unwrap();
        let content = self.secret.open(&opened.encrypted_share_data, envelope, binding);
        String::from_utf8(content.unwrap()).unwrap()
    }

    /// Calls RevokeShare once, without retries.
    async fn revoke(&self, id: &str) -> Result<Share, Status> {
        let request = RevokeShareRequest {
            share_id: id.to_owned(),
        };
        let answer = self.client.share().revoke_share(request).await?.into_inner();
        Ok(answer.share.unwrap())
    }

    /// Returns a share as its person sees it. It must be one of the newest 200.
    async fn share(&self, id: &str) -> Share {
        let request = ListSharesRequest {
            page_size: 200,
            ..ListSharesRequest::default()
        };
        let answer = self.client.share().list_shares(request).await.unwrap();
        let mut shares = answer.into_inner().shares.into_iter();
        shares.find(|share| share.share_id == id).unwrap()
    }

    /// Returns the outcomes of the newest 200 attempts, the newest first.
    async fn outcomes(&self, id: &str) -> Vec<ShareAccessOutcome> {
        let accesses = self.accesses(id).await;
        accesses.iter().map(ShareAccess::outcome).collect()
    }

    /// Returns the newest 200 attempts to open a share, the newest first.
    async fn accesses(&self, id: &str) -> Vec<ShareAccess> {
        let request = ListShareAccessRequest {
            share_id: id.to_owned(),
            page_size: 200,
            page_token: String::new(),
        };
        let answer = self.client.share().list_share_access(request).await.unwrap();
        answer.into_inner().accesses
    }
}

/// Opens a share as an anonymous caller.
async fn open(stack: &Stack, token: &str, passcode: &str) -> Result<OpenShareResponse, Status> {
    let client = stack.anonymous().unwrap();
    open_from(&client, token, passcode, DeviceType::Unknown).await
}

/// Opens a share once, as `client` on a device of `device_type`.
async fn open_from(
    client: &Client,
    token: &str,
    passcode: &str,
    device_type: DeviceType,
) -> Result<OpenShareResponse, Status> {
    let request = OpenShareRequest {
        token: token.to_owned(),
        passcode: passcode.to_owned(),
        device_type: device_type.into(),
    };
    Ok(client.share().open_share(request).await?.into_inner())
}

/// Repeats `act` while its answer says to retry: among many concurrent calls on a busy machine, some get no connection
/// in time.
async fn retry_call<T>(act: impl AsyncFn() -> Result<T, Status>) -> Result<T, Status> {
    retry_for(LIMIT, None, act).await
}

/// Returns a token of no share.
fn unknown_token() -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let (a, b) = (random::uuid(), random::uuid());
    URL_SAFE_NO_PAD.encode([a.into_bytes(), b.into_bytes()].concat())
}
