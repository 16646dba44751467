//! A person: signs up, calls mutations and reads at random, and leaves.

pub(super) mod account;
mod devices;
mod messages;
mod records;
mod recovery;
mod session;

use std::{collections::BTreeMap, time::Duration};

use haven_testkit::{Client, Person as Account, encryption::Secret, random};
use uuid::Uuid;

use self::devices::DeviceState;
use super::{
    Scene,
    caller::{Caller, Failure, Mutation},
    journal::{Kind, Object},
};
use crate::test_device::Device;

/// The number of calls after which a person leaves, at least and at most.
const STAY: std::ops::Range<u32> = 60..160;

/// The pause after a person that could not sign up.
const PAUSE: Duration = Duration::from_millis(200);

/// The end of an operation: an error ends the person's stay.
type Done = Result<(), Failure>;

/// A message: its id, version and text.
struct Message {
    id: String,
    version: i64,
    text: String,
}

/// A person with a session and a device, and what the services acknowledged so far.
struct Person<'a> {
    scene: &'a Scene,
    caller: Caller<'a>,
    /// The name that the workload chose. The services choose the id.
    name: Uuid,
    /// Calls without a token.
    anonymous: &'a Client,
    /// The device that encrypts, with the account, the session and its client.
    device: Device,
    /// The key id of shares, which no device has.
    share_key: Uuid,
    refresh_token: String,
    /// The messages by name.
    messages: BTreeMap<Uuid, Message>,
    /// The records: version and fingerprint by id.
    records: BTreeMap<Uuid, (i64, String)>,
    preferences: i64,
    /// The devices that rotate, are suspended and are revoked.
    devices: BTreeMap<Uuid, DeviceState>,
    shares: Vec<Uuid>,
    /// The granted consents: id and document.
    consents: Vec<(String, String)>,
    account_version: i64,
    /// `true` when the address is verified.
    verified: bool,
    goal: i32,
    stage: i32,
}

/// People, one after the other, until the workload is stopped.
pub(super) async fn life(scene: &Scene, number: usize) {
    while !scene.stopped() {
        match Person::arrive(scene, number).await {
            // Its failure is in the journal.
            Ok(mut person) => drop(person.stay().await),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

impl<'a> Person<'a> {
    /// Signs up and in, and registers the device that encrypts.
    async fn arrive(scene: &'a Scene, number: usize) -> Result<Self, Failure> {
        let name = random::uuid();
        let anonymous = &scene.clients[number % scene.clients.len()];
        let caller = Caller {
            journal: &scene.journal,
            name,
        };
        let account = Account {
            id: Uuid::nil(),
            email: super::email(name),
            password: format!("Aa1-{:x}", rand::random::<u128>()),
            token: String::new(),
            session_id: Uuid::nil(),
            refresh_token: String::new(),
        };
        let device = Device {
            person: account,
            client: anonymous.clone(),
            id: random::uuid(),
            key_version: 1,
            secret: Secret::generate(),
            algorithm: haven_proto::data::v1::EncryptionAlgorithm::Xchacha20Poly1305,
        };
        let mut person = Self {
            scene,
            caller,
            name,
            anonymous,
            device,
            share_key: random::uuid(),
            refresh_token: String::new(),
            messages: BTreeMap::new(),
            records: BTreeMap::new(),
            preferences: 0,
            devices: BTreeMap::new(),
            shares: Vec::new(),
            consents: Vec::new(),
            account_version: 1,
            verified: false,
            goal: 1,
            stage: 1,
        };
        person.sign_up().await?;
        person.sign_in().await?;
        person.register_device(person.device.id).await?;
        Ok(person)
    }

    /// Calls until the person leaves, or the workload is stopped.
    async fn stay(&mut self) -> Done {
        for _ in 0..rand::random_range(STAY) {
            if self.scene.stopped() {
                return Ok(());
            }
            self.operate().await?;
        }
        if rand::random() {
            self.delete_account().await?;
        }
        Ok(())
    }

    /// Makes one operation.
    async fn operate(&mut self) -> Done {
        match rand::random_range(0..100) {
            0..16 => self.append_message().await,
            16..25 => self.update_message().await,
            25..29 => self.delete_message().await,
            29..35 => self.list_messages().await,
            35..39 => self.read_message().await,
            39..42 => self.request_analysis().await,
            42..44 => self.delete_analysis().await,
            44..52 => self.create_record().await,
            52..60 => self.update_record().await,
            60..63 => self.delete_record().await,
            63..67 => self.push_changes().await,
            67..70 => self.dispute_record().await,
            70..73 => self.pull_changes().await,
            73..76 => self.read_record().await,
            76..79 => self.put_preferences().await,
            79..83 => self.change_device().await,
            83..85 => self.create_share().await,
            85 => self.revoke_share().await,
            86..88 => self.grant_consent().await,
            88 => self.withdraw_consent().await,
            89..92 => self.update_account().await,
            92..94 => self.read_account().await,
            94 => self.provision().await,
            95..97 => self.refresh_session().await,
            97 => self.recover().await,
            98 if rand::random() => self.sign_out().await,
            98 => self.sign_in().await,
            _ => self.change_password().await,
        }
    }

    fn object(&self, kind: Kind, name: impl ToString) -> Object {
        Object::new(self.name, kind, name)
    }

    /// Notes a read that returned a content of another person, or one that this person never stored.
    fn assert_own(&self, rpc: &str, is_own: bool, what: &str) {
        if !is_own {
            let found = format!("{rpc} of {} returned {what}", self.name);
            self.caller.journal.reads().foreign.push(found);
        }
    }

    /// Notes a read that returned something else than what was acknowledged last.
    fn assert_current(&self, rpc: &str, is_current: bool, what: &str) {
        if !is_current {
            let found = format!("{rpc} of {} returned {what}", self.name);
            self.caller.journal.reads().stale.push(found);
        }
    }
}

/// Returns a new request id.
fn request_id() -> String {
    random::uuid().to_string()
}

/// Returns a random key.
fn any<K: Clone + Ord, V>(map: &BTreeMap<K, V>) -> Option<K> {
    (!map.is_empty()).then(|| map.keys().nth(rand::random_range(0..map.len())).cloned())?
}
