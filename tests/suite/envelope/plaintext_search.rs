//! The services never have the plaintext of client-encrypted content: a canary goes through every RPC that takes or
//! returns a payload, and then the database, logs, metrics and the services' memory are searched for it.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use haven_proto::data::v1::{
    Conflict, CreateShareRequest, CryptoEnvelope, DeviceType, ExportDataRequest, GetPreferencesRequest,
    ListConflictsRequest, ListRecordsRequest, OpenShareRequest, PullChangesRequest,
};
use haven_testkit::{
    Stack,
    database::Database,
    encryption::{ContentBinding, Kind, Secret},
    installation::Installation,
    random,
    secrets::SUPERUSER,
};
use tokio_stream::StreamExt;
use uuid::Uuid;

use super::{
    byte_search::Needle,
    payload_calls::{get, in_an_hour, push, put_preferences, seal_preferences},
};
use crate::{
    metrics::Metrics,
    superuser_sql::{execute, scalar},
    test_device::Device,
};

/// A device, its stored data, and the text that is in all of it.
struct StoredCanary {
    device: Device,
    canary: String,
    record: Uuid,
    /// A stored ciphertext, which the searches must find.
    payload: Vec<u8>,
    share: Uuid,
    share_secret: Secret,
    share_token: String,
}

impl StoredCanary {
    /// Stores the canary in a record, in a conflict, in preferences and in a share.
    async fn store(stack: &Stack) -> Result<Self> {
        let device = Device::invent(stack).await?;
        let canary: String = (0..20).map(|_| rand::random_range('a'..='z')).collect();
        let (record, share) = (random::uuid(), random::uuid());
        let mut cycle = device.client.cycle();
        cycle
            .create_record(device.create(record, &format!("{canary}, created"))?)
            .await?;
        let update = device.update(record, 1, &format!("{canary}, updated"))?;
        let payload = update.encrypted_payload.clone();
        cycle.update_record(update).await?;
        let other = device.another().await?;
        let lost = other.put(record, 1, &format!("{canary}, lost"))?;
        push(&other, vec![lost]).await?;
        let preferences = seal_preferences(&device, &format!("{canary}, preferred"), 1)?;
        put_preferences(&device, 0, preferences.payload, preferences.envelope).await?;
        let share_secret = Secret::generate();
        let (encrypted_share_data, envelope) = share_secret.seal(
            format!("{canary}, shared").as_bytes(),
            share_binding(&device, share),
            device.algorithm,
            random::uuid(),
            1,
        )?;
        let request = CreateShareRequest {
            share_id: share.to_string(),
            encrypted_share_data,
            crypto_envelope: Some(envelope),
            expire_time: Some(in_an_hour()),
            max_access_count: 10,
            passcode: "2580-1470".into(),
            request_id: random::uuid().to_string(),
        };
        let share_token = device
            .client
            .share()
            .create_share(request)
            .await?
            .into_inner()
            .token;
        Ok(Self {
            device,
            canary,
            record,
            payload,
            share,
            share_secret,
            share_token,
        })
    }

    /// Reads and decrypts all of it with every RPC that returns some, to show that it was stored.
    async fn read(&self, stack: &Stack) -> Result<()> {
        let Self { device, canary, .. } = self;
        let record = get(device, self.record).await?;
        assert_eq!(device.open(&record)?, format!("{canary}, updated"));
        let mut cycle = device.client.cycle();
        let listed = cycle
            .list_records(ListRecordsRequest::default())
            .await?
            .into_inner();
        assert_eq!(device.open(&listed.records[0])?, format!("{canary}, updated"));
        let conflicts = cycle
            .list_conflicts(ListConflictsRequest::default())
            .await?
            .into_inner();
        assert_eq!(
            self.open_conflict(&conflicts.conflicts[0])?,
            format!("{canary}, lost")
        );
        let request = PullChangesRequest {
            device_id: device.id.to_string(),
            cursor: String::new(),
        };
        let mut pulled = cycle.pull_changes(request).await?.into_inner();
        let mut entries = 0;
        while let Some(answer) = pulled.next().await {
            entries += answer?.entries.len();
        }
        assert_eq!(entries, 2);
        let mut preferences = device.client.preferences();
        let got = preferences
            .get_preferences(GetPreferencesRequest::default())
            .await?
            .into_inner();
        let got = got.preferences.context("no preferences")?;
        let binding = ContentBinding {
            kind: Kind::Preferences,
            user_id: device.person.id,
            record_id: device.person.id,
            version: 1,
        };
        let opened = self.open(
            &device.secret,
            &got.encrypted_payload,
            got.crypto_envelope,
            binding,
        )?;
        assert_eq!(opened, format!("{canary}, preferred"));
        let request = OpenShareRequest {
            token: self.share_token.clone(),
            passcode: "2580-1470".into(),
            device_type: DeviceType::Desktop.into(),
        };
        let opened = stack.anonymous()?.share().open_share(request).await?.into_inner();
        let binding = share_binding(device, self.share);
        let opened = self.open(
            &self.share_secret,
            &opened.encrypted_share_data,
            opened.crypto_envelope,
            binding,
        )?;
        assert_eq!(opened, format!("{canary}, shared"));
        let mut export = device
            .client
            .person()
            .export_data(ExportDataRequest::default())
            .await?
            .into_inner();
        let mut complete = false;
        while let Some(answer) = export.next().await {
            complete |= answer?.manifest.is_some();
        }
        assert!(complete);
        Ok(())
    }

    /// Decrypts the content of a conflict.
    fn open_conflict(&self, conflict: &Conflict) -> Result<String> {
        let binding = self
            .device
            .binding(conflict.record_id.parse()?, conflict.base_version + 1);
        self.open(
            &self.device.secret,
            &conflict.encrypted_payload,
            conflict.crypto_envelope.clone(),
            binding,
        )
    }

    /// Decrypts a payload in its envelope.
    fn open(
        &self,
        secret: &Secret,
        payload: &[u8],
        envelope: Option<CryptoEnvelope>,
        binding: ContentBinding,
    ) -> Result<String> {
        let envelope = envelope.context("no envelope")?;
        Ok(String::from_utf8(secret.open(payload, &envelope, binding)?)?)
    }
}

/// Returns the binding of a share.
fn share_binding(device: &Device, share: Uuid) -> ContentBinding {
    ContentBinding {
        kind: Kind::Share,
        user_id: device.person.id,
        record_id: share,
        version: 1,
    }
}

/// Returns the whole database as pg_dump writes it.
fn dump(database: &Database) -> Result<Vec<u8>> {
    let pg_dump = Installation::require(|_| ())?.bin.join("pg_dump");
    let output = Command::new(pg_dump).envs(database.libpq(SUPERUSER)).output()?;
    ensure!(
        output.status.success(),
        "pg_dump: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// Searches the memory of both services while they are paused. Fails when the canary is found, or the name of the
/// database is not.
fn search_memory(stack: &mut Stack, canary: &Needle) -> Result<()> {
    let name = Needle::new(stack.database.name.as_bytes());
    for service in [&mut stack.data, &mut stack.identity] {
        let pid = service.pid().context("not started")?;
        service.pause();
        let (found, control) = (canary.find_in_memory(pid), name.find_in_memory(pid));
        service.resume();
        assert_eq!(found?, None, "the canary is in {}'s memory", service.name);
        assert!(
            control?.is_some(),
            "the search of {}'s memory finds nothing",
            service.name
        );
    }
    Ok(())
}

#[tokio::test]
async fn no_plaintext_of_client_encrypted_content_is_found_anywhere() -> Result<()> {
    let mut stack = Stack::builder()
        .own_cluster()
        .variable("identity", "LOG_FILTER", "trace")
        .variable("data", "LOG_FILTER", "trace")
        .start()
        .await?;
    let world = StoredCanary::store(&stack).await?;
    let canary = Needle::new(world.canary.as_bytes());
    let ciphertext = Needle::new(&world.payload);
    search_memory(&mut stack, &canary)?;
    world.read(&stack).await?;
    search_memory(&mut stack, &canary)?;

    execute(&stack.database, "CHECKPOINT").await;
    let dumped = dump(&stack.database)?;
    assert_eq!(canary.find(&dumped), None, "the canary is in a dump");
    assert!(
        ciphertext.find(&dumped).is_some(),
        "the dump lacks the ciphertext"
    );
    let files: String = scalar(&stack.database, "SELECT current_setting('data_directory')").await;
    for directory in [
        PathBuf::from(&files).join("base"),
        PathBuf::from(&files).join("pg_wal"),
    ] {
        let found = ciphertext.find_in_files(&directory)?;
        assert!(
            found.is_some(),
            "the ciphertext is not in {}",
            directory.display()
        );
    }
    assert_eq!(canary.find_in_files(&PathBuf::from(files))?, None);

    let log = stack.cluster().context("no cluster of its own")?.log();
    let metrics = Metrics::read(stack.data.listeners.metrics).await.page;
    for (source, content, control) in [
        (
            "data's log",
            fs::read(stack.data.log())?,
            "CycleService/CreateRecord",
        ),
        (
            "identity's log",
            fs::read(stack.identity.log())?,
            "AccountService/SignUp",
        ),
        ("Postgres's log", fs::read(log)?, "database system is ready"),
        (
            "data's metrics",
            metrics.into_bytes(),
            "CycleService/CreateRecord",
        ),
    ] {
        assert_eq!(canary.find(&content), None, "the canary is in {source}");
        let control = Needle::new(control.as_bytes());
        assert!(
            control.find(&content).is_some(),
            "the search of {source} finds nothing"
        );
    }
    Ok(())
}
