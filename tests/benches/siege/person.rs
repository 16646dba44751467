//! An honest person, who calls at a steady pace.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::Utc;
use haven_proto::{
    data::v1::{
        AppendMessageRequest, CreateShareRequest, CryptoEnvelope, DevicePlatform, EncryptionAlgorithm,
        KeyDerivation, ListMessagesRequest, ListRecordsRequest, OpenShareRequest, RegisterDeviceRequest,
        SenderType, WatchChangesRequest,
    },
    identity::v1::{
        CheckPasswordRequest, GetAccountRequest, GetSigningKeysRequest, RefreshSessionRequest, SignInRequest,
    },
};
use haven_testkit::{Client, Stack, client::sign_up_request, random};
use prost_types::Timestamp;
use tonic::{Request, Status};
use uuid::Uuid;

/// The mean time between the end of a call and the next one.
const REST_MS: u64 = 800;

/// A person with a session, a device and a share.
#[derive(Clone)]
pub(crate) struct Person {
    anonymous: Client,
    client: Client,
    pub(crate) email: String,
    password: String,
    address: Option<String>,
    device: Uuid,
    device_token: String,
    refresh_token: String,
    share: String,
    opened: String,
}

/// A call of a person.
pub(crate) struct Outcome {
    pub(crate) call: &'static str,
    pub(crate) took: Duration,
    pub(crate) result: Result<(), Status>,
}

impl Person {
    /// Signs person `number` up, who calls through `backend` or, without one, from an address of loopback of their own.
    pub(crate) async fn arrive(stack: &Stack, number: usize, backend: Option<Client>) -> Result<Self> {
        let address = backend.as_ref().map(|_| format!("198.51.100.{number}"));
        let anonymous = match backend {
            Some(backend) => backend,
            None => stack.client_from([127, 0, 1, u8::try_from(number + 1)?].into())?,
        };
        let mut person = Self {
            client: anonymous.clone(),
            anonymous,
            email: format!("person-{number}@example.org"),
            password: format!("Aa1-{:x}", rand::random::<u128>()),
            address,
            device: Uuid::nil(),
            device_token: String::new(),
            refresh_token: String::new(),
            share: String::new(),
            opened: String::new(),
        };
        let request = sign_up_request(&person.email, &person.password);
        person
            .anonymous
            .account()
            .sign_up(person.request(request))
            .await?;
        let response = person.sign_in().await?;
        person.refresh_token = response.refresh_token;
        person.device_token = response.device_token;
        person.client = person.anonymous.with_token(&response.access_token)?;
        person.register().await.context("RegisterDevice")?;
        let request = person.request(share("", random::uuid()));
        let response = person.client.share().create_share(request).await?;
        person.share = response.into_inner().token;
        Ok(person)
    }

    /// Returns the token of the person's share.
    pub(crate) fn share(&self) -> String {
        self.share.clone()
    }

    /// Sets the share that the person opens.
    pub(crate) fn opens(&mut self, token: String) {
        self.opened = token;
    }

    /// Calls until `end`, at random.
    pub(crate) async fn calls_until(&mut self, end: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        loop {
            let rest = Duration::from_millis(rand::random_range(REST_MS / 2..REST_MS * 3 / 2));
            if Instant::now() + rest >= end {
                return outcomes;
            }
            tokio::time::sleep(rest).await;
            let begin = Instant::now();
            let (call, result) = self.call(rand::random_range(0..100)).await;
            outcomes.push(Outcome {
                call,
                took: begin.elapsed(),
                result,
            });
        }
    }

    async fn call(&mut self, die: u32) -> (&'static str, Result<(), Status>) {
        match die {
            0..30 => ("AppendMessage", self.append().await),
            30..55 => {
                let request = self.request(ListMessagesRequest::default());
                (
                    "ListMessages",
                    self.client.conversation().list_messages(request).await.map(drop),
                )
            }
            55..65 => {
                let request = self.request(ListRecordsRequest::default());
                (
                    "ListRecords",
                    self.client.cycle().list_records(request).await.map(drop),
                )
            }
            65..75 => {
                let request = self.request(GetAccountRequest::default());
                (
                    "GetAccount",
                    self.client.account().get_account(request).await.map(drop),
                )
            }
            75..80 => {
                let request = self.request(GetSigningKeysRequest::default());
                (
                    "GetSigningKeys",
                    self.anonymous.session().get_signing_keys(request).await.map(drop),
                )
            }
            80..85 => {
                let request = self.request(CheckPasswordRequest {
                    password: self.password.clone(),
                    email: self.email.clone(),
                });
                (
                    "CheckPassword",
                    self.anonymous.account().check_password(request).await.map(drop),
                )
            }
            85..88 => ("RefreshSession", self.refresh().await),
            88..90 => ("SignIn", self.sign_in().await.map(drop)),
            90..96 => {
                let request = self.request(OpenShareRequest {
                    token: self.opened.clone(),
                    passcode: String::new(),
                    device_type: 0,
                });
                (
                    "OpenShare",
                    self.anonymous.share().open_share(request).await.map(drop),
                )
            }
            _ => ("WatchChanges", self.watch().await),
        }
    }

    async fn append(&self) -> Result<(), Status> {
        let request = self.request(AppendMessageRequest {
            sender_type: SenderType::User.into(),
            text: "I said hello first today.".to_owned(),
            request_id: random::uuid().to_string(),
            ..AppendMessageRequest::default()
        });
        self.client.conversation().append_message(request).await.map(drop)
    }

    async fn refresh(&mut self) -> Result<(), Status> {
        let request = self.request(RefreshSessionRequest {
            refresh_token: self.refresh_token.clone(),
        });
        let response = self.anonymous.session().refresh_session(request).await?;
        self.refresh_token = response.into_inner().refresh_token;
        Ok(())
    }

    /// Signs in on a device that has signed in before.
    async fn sign_in(&self) -> Result<haven_proto::identity::v1::SignInResponse, Status> {
        let request = self.request(SignInRequest {
            email: self.email.clone(),
            password: self.password.clone(),
            request_id: random::uuid().to_string(),
            device_token: self.device_token.clone(),
        });
        Ok(self.anonymous.session().sign_in(request).await?.into_inner())
    }

    /// Opens a watch, reads its first message and closes it.
    async fn watch(&self) -> Result<(), Status> {
        let request = self.request(WatchChangesRequest {
            device_id: self.device.to_string(),
            cursor: String::new(),
        });
        let mut watch = self.client.cycle().watch_changes(request).await?.into_inner();
        tokio::time::timeout(Duration::from_secs(3), watch.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no first message"))?
            .map(drop)
    }

    /// Registers the person's device. data learns of a new person a moment later than identity.
    async fn register(&mut self) -> Result<()> {
        let request = RegisterDeviceRequest {
            device_id: String::new(),
            installation_id: random::uuid().to_string(),
            encrypted_master_key: vec![7; 64],
            key_derivation_path: "m".to_owned(),
            platform: DevicePlatform::Ios.into(),
            app_version: "1.0".to_owned(),
            request_id: random::uuid().to_string(),
            replace_device_id: String::new(),
            encrypted_label: Vec::new(),
        };
        for _ in 0..50 {
            match self
                .client
                .device()
                .register_device(self.request(request.clone()))
                .await
            {
                Ok(response) => {
                    let device = response.into_inner().device.context("no device")?;
                    self.device = device.device_id.parse()?;
                    return Ok(());
                }
                Err(status) if status.code() == tonic::Code::FailedPrecondition => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(status) => return Err(status.into()),
            }
        }
        anyhow::bail!("the person is not ready after five seconds")
    }

    /// Returns a request with the address of the person, if a backend calls for them, and a deadline of five seconds.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(5));
        if let Some(address) = self.address.as_ref().and_then(|address| address.parse().ok()) {
            request.metadata_mut().insert("x-forwarded-for", address);
        }
        request
    }
}

/// Returns a request to create a share.
pub(crate) fn share(passcode: &str, request_id: Uuid) -> CreateShareRequest {
    CreateShareRequest {
        share_id: String::new(),
        encrypted_share_data: rand::random::<[u8; 32]>().repeat(8),
        crypto_envelope: Some(CryptoEnvelope {
            envelope_version: 1,
            algorithm: EncryptionAlgorithm::Xchacha20Poly1305.into(),
            key_id: random::uuid().to_string(),
            key_version: 1,
            nonce: rand::random::<[u8; 24]>().to_vec(),
            salt: rand::random::<[u8; 16]>().to_vec(),
            key_derivation: Some(KeyDerivation {
                memory_kib: 19_456,
                iterations: 2,
                parallelism: 1,
            }),
            associated_data_version: 1,
        }),
        expire_time: Some(Timestamp {
            seconds: Utc::now().timestamp() + 24 * 3600,
            nanos: 0,
        }),
        max_access_count: 1000,
        passcode: passcode.to_owned(),
        request_id: request_id.to_string(),
    }
}
