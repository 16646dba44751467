//! A person with client-encrypted data of every kind, and a valid request for each RPC on it.

use haven_proto::data::v1::{
    AcknowledgeChangesRequest, ConflictResolution, CreateShareRequest, DeleteRecordRequest, DeviceType,
    EncryptionAlgorithm, ExportDataRequest, GetPreferencesRequest, GetRecordRequest, ListAuditEventsRequest,
    ListConflictsRequest, ListDevicesRequest, ListRecordsRequest, ListShareAccessRequest, ListSharesRequest,
    OpenShareRequest, PullChangesRequest, PushChangesRequest, PushMode, PutPreferencesRequest,
    ResolveConflictRequest, RevokeDeviceRequest, RevokeShareRequest, RotateDeviceKeyRequest,
    SuspendDeviceRequest, WatchChangesRequest,
};
use haven_testkit::{
    Person, Stack,
    encryption::{ContentBinding, Kind, Secret},
    random,
};
use prost::Message;
use uuid::Uuid;

use crate::test_device::{Device, at, registration};

/// A person's client-encrypted data.
pub(crate) struct EncryptedFixture {
    /// The device that makes the calls.
    pub(crate) device: Device,
    /// A second device, to be rotated and suspended.
    rotated: Device,
    /// A third device, to be revoked.
    revoked: Device,
    /// Two records of version 1: one to read and update, one to delete.
    records: [Uuid; 2],
    /// A record of version 1 with an open conflict.
    disputed: Uuid,
    conflict: String,
    cursor: String,
    /// Ids and tokens of two shares: one to open twice, one to revoke.
    shares: [(Uuid, String); 2],
}

impl EncryptedFixture {
    /// Stores data of every kind for `person`, who has none yet. `say` returns the plaintexts.
    pub(crate) async fn of(stack: &Stack, person: Person, plaintext: &dyn Fn(&str) -> String) -> Self {
        let device = Device::first_of(stack, person).await.unwrap();
        let (rotated, revoked) = (device.another().await.unwrap(), device.another().await.unwrap());
        let records = [random::uuid(), random::uuid()];
        let disputed = random::uuid();
        let mut cycle = device.client.cycle();
        for record in records.into_iter().chain([disputed]) {
            let request = device.create(record, &plaintext("a record's content")).unwrap();
            cycle.create_record(request).await.unwrap();
        }
        let mut fixture = Self {
            device,
            rotated,
            revoked,
            records,
            disputed,
            conflict: String::new(),
            cursor: String::new(),
            shares: [(Uuid::nil(), String::new()), (Uuid::nil(), String::new())],
        };
        let preferences = fixture.preferences(&plaintext("the first preferences"), 0);
        let mut service = fixture.device.client.preferences();
        service.put_preferences(preferences).await.unwrap();
        // This change is based on no version, so it is a conflict.
        let change = fixture
            .device
            .put(disputed, 0, &plaintext("a conflict's content"))
            .unwrap();
        let pushed = cycle.push_changes(fixture.push(vec![change])).await.unwrap();
        fixture.conflict = pushed.into_inner().results[0].conflict_id.clone();
        let pull = PullChangesRequest {
            device_id: fixture.device.id.to_string(),
            cursor: String::new(),
        };
        let mut pulled = cycle.pull_changes(pull).await.unwrap().into_inner();
        fixture.cursor = pulled.message().await.unwrap().unwrap().cursor;
        for index in 0..2 {
            let request = fixture.share(plaintext);
            let id = request.share_id.parse().unwrap();
            let created = fixture.device.client.share().create_share(request).await.unwrap();
            fixture.shares[index] = (id, created.into_inner().token);
        }
        fixture
    }

    /// Returns a request to push `changes` in the mode INDEPENDENT.
    fn push(&self, changes: Vec<haven_proto::data::v1::Change>) -> PushChangesRequest {
        PushChangesRequest {
            device_id: self.device.id.to_string(),
            changes,
            mode: PushMode::Independent.into(),
            request_id: random::uuid().to_string(),
        }
    }

    /// Returns a request to create a share for two openings.
    fn share(&self, plaintext: &dyn Fn(&str) -> String) -> CreateShareRequest {
        let share = random::uuid();
        let binding = ContentBinding {
            kind: Kind::Share,
            user_id: self.device.person.id,
            record_id: share,
            version: 1,
        };
        let algorithm = EncryptionAlgorithm::Aes256Gcm;
        let sealed = Secret::generate().seal(
            plaintext("a share's content").as_bytes(),
            binding,
            algorithm,
            random::uuid(),
            1,
        );
        let (encrypted_share_data, envelope) = sealed.unwrap();
        CreateShareRequest {
            share_id: share.to_string(),
            encrypted_share_data,
            crypto_envelope: Some(envelope),
            expire_time: Some(at(chrono::Utc::now() + chrono::TimeDelta::days(1))),
            max_access_count: 2,
            passcode: String::new(),
            request_id: random::uuid().to_string(),
        }
    }

    /// Returns the tokens of the shares.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &str> {
        self.shares.iter().map(|(_, token)| token.as_str())
    }

    /// Returns a valid request for `rpc`, which can be sent once. `None` when the RPC needs nothing of this fixture.
    pub(crate) fn request(&self, rpc: &str, plaintext: &dyn Fn(&str) -> String) -> Option<Vec<u8>> {
        let request_id = random::uuid().to_string();
        let device_id = self.device.id.to_string();
        let [read, deleted] = self.records;
        let [opened, revoked] = &self.shares;
        let rpc = rpc.strip_prefix("haven.data.v1.")?;
        Some(match rpc {
            "CycleService/CreateRecord" => {
                let content = plaintext("CreateRecord's content");
                self.device
                    .create(random::uuid(), &content)
                    .unwrap()
                    .encode_to_vec()
            }
            "CycleService/GetRecord" => GetRecordRequest {
                record_id: read.to_string(),
                device_id,
            }
            .encode_to_vec(),
            "CycleService/ListRecords" => ListRecordsRequest {
                device_id,
                ..ListRecordsRequest::default()
            }
            .encode_to_vec(),
            "CycleService/UpdateRecord" => {
                let content = plaintext("UpdateRecord's content");
                self.device.update(read, 1, &content).unwrap().encode_to_vec()
            }
            "CycleService/DeleteRecord" => DeleteRecordRequest {
                device_id,
                record_id: deleted.to_string(),
                expected_version: 1,
                request_id,
            }
            .encode_to_vec(),
            "CycleService/PushChanges" => {
                let content = plaintext("PushChanges' content");
                let change = self.device.put(random::uuid(), 0, &content).unwrap();
                self.push(vec![change]).encode_to_vec()
            }
            "CycleService/PullChanges" => PullChangesRequest {
                device_id,
                cursor: self.cursor.clone(),
            }
            .encode_to_vec(),
            "CycleService/WatchChanges" => WatchChangesRequest {
                device_id,
                cursor: String::new(),
            }
            .encode_to_vec(),
            "CycleService/AcknowledgeChanges" => AcknowledgeChangesRequest {
                device_id,
                cursor: self.cursor.clone(),
            }
            .encode_to_vec(),
            "CycleService/ListConflicts" => ListConflictsRequest {
                device_id,
                record_id: self.disputed.to_string(),
                ..ListConflictsRequest::default()
            }
            .encode_to_vec(),
            "CycleService/ResolveConflict" => {
                let content = plaintext("ResolveConflict's content");
                let (encrypted_payload, envelope) = self.device.seal(&content, self.disputed, 2).unwrap();
                ResolveConflictRequest {
                    device_id,
                    record_id: self.disputed.to_string(),
                    expected_version: 1,
                    conflict_ids: vec![self.conflict.clone()],
                    resolution: ConflictResolution::Replace.into(),
                    encrypted_payload,
                    crypto_envelope: Some(envelope),
                    local_time: Some(at(chrono::Utc::now())),
                    request_id,
                }
                .encode_to_vec()
            }
            "PreferencesService/GetPreferences" => GetPreferencesRequest { device_id }.encode_to_vec(),
            "PreferencesService/PutPreferences" => self
                .preferences(&plaintext("PutPreferences' content"), 1)
                .encode_to_vec(),
            "DeviceService/RegisterDevice" => {
                let mut request = registration(&self.device.secret).unwrap();
                request.installation_id = plaintext("RegisterDevice's installation id");
                request.encode_to_vec()
            }
            "DeviceService/ListDevices" => ListDevicesRequest::default().encode_to_vec(),
            "DeviceService/RotateDeviceKey" => RotateDeviceKeyRequest {
                device_id: self.rotated.id.to_string(),
                expected_key_version: 1,
                encrypted_master_key: self.device.secret.wrapped().unwrap(),
                key_derivation_path: "m/44'/0'/2'".into(),
                request_id,
                encrypted_label: self.device.secret.wrapped().unwrap(),
            }
            .encode_to_vec(),
            "DeviceService/SuspendDevice" => SuspendDeviceRequest {
                device_id: self.rotated.id.to_string(),
                request_id,
            }
            .encode_to_vec(),
            "DeviceService/RevokeDevice" => RevokeDeviceRequest {
                device_id: self.revoked.id.to_string(),
                request_id,
            }
            .encode_to_vec(),
            "ShareService/CreateShare" => CreateShareRequest {
                passcode: plaintext("CreateShare's passcode"),
                ..self.share(plaintext)
            }
            .encode_to_vec(),
            "ShareService/ListShares" => ListSharesRequest::default().encode_to_vec(),
            "ShareService/ListShareAccess" => ListShareAccessRequest {
                share_id: opened.0.to_string(),
                ..ListShareAccessRequest::default()
            }
            .encode_to_vec(),
            "ShareService/RevokeShare" => RevokeShareRequest {
                share_id: revoked.0.to_string(),
            }
            .encode_to_vec(),
            "ShareService/OpenShare" => OpenShareRequest {
                token: opened.1.clone(),
                // The share has no passcode. A passcode sent nevertheless must stay secret.
                passcode: plaintext("OpenShare's passcode"),
                device_type: DeviceType::Mobile.into(),
            }
            .encode_to_vec(),
            "PersonService/ExportData" => ExportDataRequest::default().encode_to_vec(),
            "PersonService/ListAuditEvents" => ListAuditEventsRequest::default().encode_to_vec(),
            _ => return None,
        })
    }

    /// Returns a request to store preferences over the version `seen`.
    fn preferences(&self, content: &str, seen: i64) -> PutPreferencesRequest {
        let Device { id, person, .. } = &self.device;
        let binding = ContentBinding {
            kind: Kind::Preferences,
            user_id: person.id,
            record_id: person.id,
            version: seen as u64 + 1,
        };
        let algorithm = self.device.algorithm;
        let sealed = self.device.secret.seal(
            content.as_bytes(),
            binding,
            algorithm,
            *id,
            self.device.key_version,
        );
        let (encrypted_payload, envelope) = sealed.unwrap();
        PutPreferencesRequest {
            device_id: id.to_string(),
            expected_version: seen,
            encrypted_payload,
            crypto_envelope: Some(envelope),
            request_id: random::uuid().to_string(),
        }
    }
}
