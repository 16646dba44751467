//! A registered device with the person's master key, which really encrypts.

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use haven_proto::data::v1::{
    Change, ChangeKind, CreateRecordRequest, CryptoEnvelope, DevicePlatform, EncryptionAlgorithm, Record,
    RegisterDeviceRequest, UpdateRecordRequest,
};
use haven_testkit::{
    Client, Person, Stack,
    encryption::{ContentBinding, Kind, Secret},
    random,
};
use prost_types::Timestamp;
use uuid::Uuid;

use crate::retry::{LONG_TIMEOUT, retry_for, with_long_timeout};

/// A device of a person.
#[derive(Clone)]
pub(crate) struct Device {
    /// The person that the device belongs to.
    pub(crate) person: Person,
    /// A client with the person's access token.
    pub(crate) client: Client,
    /// The id of the device and of its key.
    pub(crate) id: Uuid,
    /// The version of the device's key.
    pub(crate) key_version: i32,
    /// The person's master key.
    pub(crate) secret: Secret,
    /// The algorithm that the device encrypts with.
    pub(crate) algorithm: EncryptionAlgorithm,
}

impl Device {
    /// Signs a new person up, and registers their first device.
    pub(crate) async fn invent(stack: &Stack) -> Result<Self> {
        let person = stack.anonymous()?.invent().await?;
        Self::first_of(stack, person).await
    }

    /// Registers the first device of `person`.
    pub(crate) async fn first_of(stack: &Stack, person: Person) -> Result<Self> {
        let client = stack.user(&person)?;
        Self::register(client, person, Secret::generate()).await
    }

    /// Registers another device of the same person, with the same master key.
    pub(crate) async fn another(&self) -> Result<Self> {
        Self::register(self.client.clone(), self.person.clone(), self.secret.clone()).await
    }

    /// Registers a device, and retries until the service `data` knows of the person.
    pub(crate) async fn register(client: Client, person: Person, secret: Secret) -> Result<Self> {
        let request = registration(&secret)?;
        // On a busy machine the service `data` may not know yet of a person who has just signed up.
        let answer = retry_for(LONG_TIMEOUT, Some("ACCOUNT_NOT_READY"), async || {
            client
                .device()
                .register_device(with_long_timeout(request.clone()))
                .await
        });
        let device = answer.await?.into_inner().device;
        let device = device.context("the answer has no device")?;
        Ok(Self {
            person,
            client,
            id: device.device_id.parse()?,
            key_version: device.key_version,
            secret,
            algorithm: EncryptionAlgorithm::Xchacha20Poly1305,
        })
    }

    /// Returns the binding of a record's content that is to have `version`.
    pub(crate) fn binding(&self, record: Uuid, version: i64) -> ContentBinding {
        ContentBinding {
            kind: Kind::Record,
            user_id: self.person.id,
            record_id: record,
            version: version as u64,
        }
    }

    /// Encrypts `content` for a version of a record.
    pub(crate) fn seal(
        &self,
        content: &str,
        record: Uuid,
        version: i64,
    ) -> Result<(Vec<u8>, CryptoEnvelope)> {
        self.secret.seal(
            content.as_bytes(),
            self.binding(record, version),
            self.algorithm,
            self.id,
            self.key_version,
        )
    }

    /// Decrypts a record, which any device of the person may have encrypted.
    pub(crate) fn open(&self, record: &Record) -> Result<String> {
        let envelope = record.crypto_envelope.as_ref().context("the record is deleted")?;
        let binding = self.binding(record.record_id.parse()?, record.version);
        Ok(String::from_utf8(self.secret.open(
            &record.encrypted_payload,
            envelope,
            binding,
        )?)?)
    }

    /// Returns a request to store `content` as a new record.
    pub(crate) fn create(&self, record: Uuid, content: &str) -> Result<CreateRecordRequest> {
        let (encrypted_payload, envelope) = self.seal(content, record, 1)?;
        Ok(CreateRecordRequest {
            device_id: self.id.to_string(),
            record_id: record.to_string(),
            encrypted_payload,
            crypto_envelope: Some(envelope),
            local_time: Some(now()),
            request_id: random::uuid().to_string(),
        })
    }

    /// Returns a request to store `content` over the version `seen` of a record.
    pub(crate) fn update(&self, record: Uuid, seen: i64, content: &str) -> Result<UpdateRecordRequest> {
        let (encrypted_payload, envelope) = self.seal(content, record, seen + 1)?;
        Ok(UpdateRecordRequest {
            device_id: self.id.to_string(),
            record_id: record.to_string(),
            expected_version: seen,
            encrypted_payload,
            crypto_envelope: Some(envelope),
            local_time: Some(now()),
            request_id: random::uuid().to_string(),
        })
    }

    /// Returns an offline change that stores `content` over the version `seen` of a record, which is 0 for a new one.
    pub(crate) fn put(&self, record: Uuid, seen: i64, content: &str) -> Result<Change> {
        let (encrypted_payload, envelope) = self.seal(content, record, seen + 1)?;
        Ok(Change {
            kind: ChangeKind::Put.into(),
            record_id: record.to_string(),
            expected_version: seen,
            encrypted_payload,
            crypto_envelope: Some(envelope),
            local_time: Some(now()),
        })
    }

    /// Returns an offline change that deletes a record over the version `seen`.
    pub(crate) fn delete(&self, record: Uuid, seen: i64) -> Change {
        Change {
            kind: ChangeKind::Delete.into(),
            record_id: record.to_string(),
            expected_version: seen,
            ..Change::default()
        }
    }
}

/// Returns a request to register a device with the master key `secret` and ids of its own.
pub(crate) fn registration(secret: &Secret) -> Result<RegisterDeviceRequest> {
    Ok(RegisterDeviceRequest {
        device_id: String::new(),
        installation_id: random::uuid().to_string(),
        encrypted_master_key: secret.wrapped()?,
        key_derivation_path: "m/44'/0'/1'".into(),
        platform: DevicePlatform::Ios.into(),
        app_version: "1.0.0".into(),
        request_id: random::uuid().to_string(),
        replace_device_id: String::new(),
        // Any ciphertext.
        encrypted_label: secret.wrapped()?,
    })
}

/// Returns the current time as a protobuf timestamp.
pub(crate) fn now() -> Timestamp {
    at(Utc::now())
}

/// Returns `time` as a protobuf timestamp, cut to the microseconds that Postgres stores.
pub(crate) fn at(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: (time.timestamp_subsec_micros() * 1000) as i32,
    }
}
