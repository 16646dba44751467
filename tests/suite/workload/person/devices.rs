//! Devices, preferences and shares.

use chrono::TimeDelta;
use haven_proto::data::v1::{
    CreateShareRequest, PutPreferencesRequest, RevokeDeviceRequest, RevokeShareRequest,
    RotateDeviceKeyRequest, SuspendDeviceRequest,
};
use haven_testkit::{
    encryption::{ContentBinding, Kind as EncryptedKind},
    random,
};
use uuid::Uuid;

use super::{Done, Kind, Mutation, Person, any, request_id};
use crate::{
    test_device::{at, registration},
    workload::{content, fingerprint},
};

/// The largest number of devices besides the one that encrypts.
const DEVICES: usize = 3;

/// A device as it was last acknowledged.
#[derive(Clone)]
pub(super) struct DeviceState {
    version: i32,
    /// The fingerprint of the master key that the device wrapped.
    print: String,
}

impl Person<'_> {
    pub(super) async fn register_device(&mut self, device: Uuid) -> Done {
        let mut request = registration(&self.device.secret).unwrap();
        request.device_id = device.to_string();
        let print = fingerprint(&request.encrypted_master_key);
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Device, device).becomes(1, active(&print))];
        let mut service = self.device.client.device();
        self.caller
            .call(
                Mutation::new("RegisterDevice", &id, changes),
                request,
                async |request| service.register_device(request).await,
            )
            .await?;
        if device != self.device.id {
            self.devices.insert(device, DeviceState { version: 1, print });
        }
        Ok(())
    }

    /// Registers a device; or rotates the key of one, suspends it, revokes it, or replaces it.
    pub(super) async fn change_device(&mut self) -> Done {
        let Some(device) = any(&self.devices) else {
            return self.register_device(random::uuid()).await;
        };
        match rand::random_range(0..8) {
            0 | 1 if self.devices.len() < DEVICES => self.register_device(random::uuid()).await,
            0..4 => self.rotate_key(device).await,
            4 | 5 => self.suspend_device(device).await,
            6 => self.replace_device(device).await,
            _ => self.revoke_device(device).await,
        }
    }

    /// Registers a new device in the place of `replaced`.
    async fn replace_device(&mut self, replaced: Uuid) -> Done {
        let device = random::uuid();
        let mut request = registration(&self.device.secret).unwrap();
        request.device_id = device.to_string();
        request.replace_device_id = replaced.to_string();
        let print = fingerprint(&request.encrypted_master_key);
        let id = request.request_id.clone();
        let version = self.devices[&replaced].version;
        let changes = vec![
            self.object(Kind::Device, device).becomes(1, active(&print)),
            self.object(Kind::Device, replaced)
                .becomes(version.into(), "revoked"),
        ];
        let mut service = self.device.client.device();
        self.caller
            .call(
                Mutation::new("RegisterDevice", &id, changes),
                request,
                async |request| service.register_device(request).await,
            )
            .await?;
        self.devices.remove(&replaced);
        self.devices.insert(device, DeviceState { version: 1, print });
        Ok(())
    }

    async fn rotate_key(&mut self, device: Uuid) -> Done {
        let state = self.devices[&device].clone();
        let request = RotateDeviceKeyRequest {
            device_id: device.to_string(),
            expected_key_version: state.version,
            encrypted_master_key: self.device.secret.wrapped().unwrap(),
            key_derivation_path: "m/44'/0'/2'".into(),
            request_id: request_id(),
            encrypted_label: Vec::new(),
        };
        let print = fingerprint(&request.encrypted_master_key);
        let version = state.version + 1;
        let id = request.request_id.clone();
        let changes = vec![
            self.object(Kind::Device, device)
                .becomes(version.into(), active(&print)),
        ];
        let mut service = self.device.client.device();
        self.caller
            .call(
                Mutation::new("RotateDeviceKey", &id, changes),
                request,
                async |request| service.rotate_device_key(request).await,
            )
            .await?;
        self.devices.insert(device, DeviceState { version, print });
        Ok(())
    }

    async fn suspend_device(&mut self, device: Uuid) -> Done {
        let DeviceState { version, print } = self.devices[&device].clone();
        let request = SuspendDeviceRequest {
            device_id: device.to_string(),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let suspended = format!("suspended {print}");
        let changes = vec![
            self.object(Kind::Device, device)
                .becomes(version.into(), suspended),
        ];
        let mut service = self.device.client.device();
        self.caller
            .call(
                Mutation::new("SuspendDevice", &id, changes),
                request,
                async |request| service.suspend_device(request).await,
            )
            .await?;
        Ok(())
    }

    async fn revoke_device(&mut self, device: Uuid) -> Done {
        let version = self.devices[&device].version;
        let request = RevokeDeviceRequest {
            device_id: device.to_string(),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![
            self.object(Kind::Device, device)
                .becomes(version.into(), "revoked"),
        ];
        let mut service = self.device.client.device();
        self.caller
            .call(
                Mutation::new("RevokeDevice", &id, changes),
                request,
                async |request| service.revoke_device(request).await,
            )
            .await?;
        self.devices.remove(&device);
        Ok(())
    }

    pub(super) async fn put_preferences(&mut self) -> Done {
        let version = self.preferences + 1;
        let device = &self.device;
        let binding = ContentBinding {
            kind: EncryptedKind::Preferences,
            user_id: device.person.id,
            record_id: device.person.id,
            version: version.unsigned_abs(),
        };
        let text = content(self.name, "preferences");
        let (encrypted_payload, envelope) = device
            .secret
            .seal(
                text.as_bytes(),
                binding,
                device.algorithm,
                device.id,
                device.key_version,
            )
            .unwrap();
        let print = fingerprint(&encrypted_payload);
        let request = PutPreferencesRequest {
            device_id: device.id.to_string(),
            expected_version: self.preferences,
            encrypted_payload,
            crypto_envelope: Some(envelope),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Preferences, "").becomes(version, print)];
        let mut service = self.device.client.preferences();
        self.call_as_device("PutPreferences", &id, changes, request, async |request| {
            service.put_preferences(request).await
        })
        .await?;
        self.preferences = version;
        Ok(())
    }

    pub(super) async fn create_share(&mut self) -> Done {
        let share = random::uuid();
        let binding = ContentBinding {
            kind: EncryptedKind::Share,
            user_id: self.device.person.id,
            record_id: share,
            version: 1,
        };
        let text = content(self.name, share);
        let (encrypted_share_data, envelope) = self
            .device
            .secret
            .seal(text.as_bytes(), binding, self.device.algorithm, self.share_key, 1)
            .unwrap();
        let print = fingerprint(&encrypted_share_data);
        let request = CreateShareRequest {
            share_id: share.to_string(),
            encrypted_share_data,
            crypto_envelope: Some(envelope),
            expire_time: Some(at(chrono::Utc::now() + TimeDelta::days(1))),
            max_access_count: 2,
            passcode: String::new(),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Share, share).becomes(0, active(&print))];
        let mut service = self.device.client.share();
        self.caller
            .call(
                Mutation::new("CreateShare", &id, changes),
                request,
                async |request| service.create_share(request).await,
            )
            .await?;
        self.shares.push(share);
        Ok(())
    }

    pub(super) async fn revoke_share(&mut self) -> Done {
        let Some(share) = self.shares.pop() else {
            return self.create_share().await;
        };
        let changes = vec![self.object(Kind::Share, share).becomes(0, "revoked")];
        let request = RevokeShareRequest {
            share_id: share.to_string(),
        };
        let mut service = self.device.client.share();
        self.caller
            .call(
                Mutation::new("RevokeShare", "", changes),
                request,
                async |request| service.revoke_share(request).await,
            )
            .await?;
        Ok(())
    }
}

/// Returns the content of the state of an active device or share.
fn active(print: &str) -> String {
    format!("active {print}")
}
