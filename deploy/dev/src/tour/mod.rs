//! `cargo dev tour`: a trip through Haven, each step of which is a `cargo dev call`.

mod guide;

use std::{thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use clap::Args;
use haven_testkit::random;
use prost_reflect::prost_types::Timestamp;
use serde_json::{Value, json};

use self::guide::Guide;
use crate::listeners::Ports;

/// The number of times that the tour looks for the end of an erasure, or for its own job in the queue.
const LOOKS: u32 = 20;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Show what Haven does: a person's account from sign-up to erasure, step by step, with the calls that do it.
///
/// It needs a running installation, and fails if a step does not do what it says. It leaves nothing behind but the receipt
/// of the erasure.
#[derive(Args)]
pub(crate) struct Tour {}

/// The person of the tour.
struct Traveller {
    email: String,
    password: String,
}

impl Tour {
    /// Runs all steps.
    pub(crate) fn run(self) -> Result<()> {
        Ports::running()?;
        let guide = &mut Guide::new()?;
        let traveller = Traveller {
            email: format!("tour-{:08x}@example.org", rand::random::<u32>()),
            password: format!("Haven-{:x}", rand::random::<u64>()),
        };
        let user_id = traveller.signs_up(guide)?;
        traveller.writes(guide)?;
        traveller.is_refused(guide)?;
        traveller.is_analyzed(guide, &user_id)?;
        traveller.consents(guide)?;
        traveller.encrypts(guide)?;
        traveller.leaves(guide, &user_id)?;
        println!("The tour is over: every step did what it says. `cargo dev call --list` shows all RPCs.");
        Ok(())
    }
}

impl Traveller {
    /// Signs up and in, and returns the user id.
    fn signs_up(&self, guide: &mut Guide) -> Result<String> {
        guide.title("A person signs up");
        let service = line(json!({"service": "haven.identity.v1.AccountService"}));
        let health = guide.call(&["Health/Check", &service])?;
        health.expect("/status", "SERVING")?;
        guide.say("identity is ready. Any caller may ask for the health of a service.");

        let consent = |document| json!({"document": document, "document_version": "2026-01"});
        let request = line(json!({
            "email": self.email,
            "password": self.password,
            "goals": ["GOAL_MAKE_FRIENDS"],
            "consents": [consent("terms"), consent("privacy")],
        }));
        let account = guide.call(&["SignUp", &request])?;
        account.expect("/account/email", self.email.as_str())?;
        let user_id = account.text("/account/id")?.to_owned();
        guide.say("The account exists in both services, with its consents. `cargo dev call` has filled in a request_id.");

        let request = line(json!({"email": self.email, "password": self.password}));
        let session = guide.call(&["SignIn", &request])?;
        session.expect("/userId", user_id.as_str())?;
        session.text("/accessToken")?;
        guide.say(
            "The access token names the person for 15 minutes. `cargo dev` keeps the session, and --as calls with it.",
        );
        Ok(user_id)
    }

    fn writes(&self, guide: &mut Guide) -> Result<()> {
        guide.title("The person writes to their coach, and the coach answers");
        let text = "I said hello first today.";
        let request = line(json!({"sender_type": "SENDER_TYPE_USER", "text": text}));
        let message = guide.call(&["AppendMessage", "--as", &self.email, &request])?;
        message.expect("/message/number", "1")?;
        guide.say("data has sealed the text and stored it in a row that only this person's calls can see.");

        let request = line(json!({"sender_type": "SENDER_TYPE_COACH", "text": "How did that feel?"}));
        let coach = [
            "AppendMessage",
            "--as",
            &self.email,
            "--service",
            "backend",
            &request,
        ];
        guide.call(&coach)?.expect("/message/number", "2")?;
        guide.say("A backend writes for the coach: it shows its certificate beside the person's token.");

        let messages = guide.call(&["ListMessages", "--as", &self.email])?;
        messages.expect("/messages/0/text", text)?;
        messages.expect("/messages/1/senderType", "SENDER_TYPE_COACH")?;
        guide.say("Both messages, in order.");
        Ok(())
    }

    fn is_refused(&self, guide: &mut Guide) -> Result<()> {
        guide.title("What is refused, and how");
        guide.refused(&["ListMessages"], 80, "TOKEN_INVALID")?;
        guide.say("Without a token there is no person, and so there are no rows.");

        let request = line(json!({"sender_type": "SENDER_TYPE_USER", "text": "", "message_id": "7"}));
        let refused = guide.refused(
            &["AppendMessage", "--as", &self.email, &request],
            67,
            "INVALID_FIELD",
        )?;
        ensure!(
            refused.failure.contains("message_id: "),
            "no violation names message_id"
        );
        guide.say(
            "An invalid request names every field that is wrong, with a reason that programs can rely on.",
        );
        Ok(())
    }

    fn is_analyzed(&self, guide: &mut Guide, user_id: &str) -> Result<()> {
        guide.title("A worker analyzes the conversation");
        guide.call(&["RequestAnalysis", "--as", &self.email])?;
        guide.say("A job is in the queue. Every 25 messages put one there, too.");

        let request = line(json!({"max_jobs": 1, "wait": "5s", "lease_duration": "120s"}));
        for _ in 0..LOOKS {
            let leased = guide.call(&["LeaseJobs", "--service", "worker", &request])?;
            let lease = leased.find("/jobs/0/lease")?;
            if lease["userId"] != *user_id {
                let request = line(json!({"lease": lease, "error_code": "TOUR_PASSED_BY"}));
                guide.call(&["FailJob", "--service", "worker", &request])?;
                guide.say("This was another person's job. It goes back into the queue, and is due again in half a minute.");
                continue;
            }
            guide.say("The worker sees the messages of this job, and no others, as long as its lease lives.");
            let request = line(json!({
                "lease": lease,
                "analysis_type": "ANALYSIS_TYPE_CHAT_SCORING",
                "chat_score_tenths": 73,
                "insights": ["Speaks first."],
                "strengths": ["Courage"],
                "improvement_areas": ["Rest"],
            }));
            guide.call(&["CompleteJob", "--service", "worker", &request])?;
            let analyses = guide.call(&["ListAnalyses", "--as", &self.email])?;
            analyses.expect("/analyses/0/chatScoreTenths", 73)?;
            guide.say("The result belongs to the person, who reads it with their own token.");
            return Ok(());
        }
        anyhow::bail!("the queue has given {LOOKS} jobs of other people, and not that of the tour")
    }

    fn consents(&self, guide: &mut Guide) -> Result<()> {
        guide.title("Consents are a ledger");
        let request = line(json!({"consent": {"document": "news", "document_version": "1"}}));
        let granted = guide.call(&["GrantConsent", "--as", &self.email, &request])?;
        let request = line(json!({"consent_id": granted.text("/consent/id")?}));
        guide.call(&["WithdrawConsent", "--as", &self.email, &request])?;
        let consents = guide.call(&["ListConsents", "--as", &self.email])?;
        consents.expect("/consents/0/document", "news")?;
        consents.text("/consents/0/withdrawTime")?;
        guide.say("The withdrawal is written beside the consent. Nothing is overwritten.");
        Ok(())
    }

    fn encrypts(&self, guide: &mut Guide) -> Result<()> {
        guide.title("A device stores what the server cannot read");
        let request = line(json!({
            "installation_id": random::uuid().to_string(),
            "encrypted_master_key": bytes(72),
            "key_derivation_path": "m/44/0/1",
            "platform": "DEVICE_PLATFORM_IOS",
            "app_version": "1.0.0",
        }));
        let registered = guide.call(&["RegisterDevice", "--as", &self.email, &request])?;
        let device = registered.text("/device/deviceId")?.to_owned();
        guide.say("The device has wrapped its master key before it sends the key, so data holds no key that opens anything.");

        let record = random::uuid().to_string();
        let request = line(json!({
            "device_id": device,
            "record_id": record,
            "local_time": now(),
            "encrypted_payload": bytes(96),
            "crypto_envelope": {
                "envelope_version": 1,
                "algorithm": "ENCRYPTION_ALGORITHM_XCHACHA20_POLY1305",
                "key_id": device,
                "key_version": 1,
                "nonce": bytes(24),
                "salt": bytes(16),
                "associated_data_version": 1,
                "key_derivation": {"memory_kib": 19456, "iterations": 2, "parallelism": 1},
            },
        }));
        guide.call(&["CreateRecord", "--as", &self.email, &request])?;
        guide.say("To the server a ciphertext is like random bytes, which is what this tour sends.");

        let request = line(json!({"device_id": device}));
        let pulled = guide.call(&["PullChanges", "--as", &self.email, "--compact", &request])?;
        let has_record = pulled
            .answers
            .iter()
            .any(|answer| answer.to_string().contains(&record));
        ensure!(has_record, "the record {record} is not among the changes");
        guide.say("A device synchronizes with a stream: each message is a JSON value of its own.");
        Ok(())
    }

    fn leaves(&self, guide: &mut Guide, user_id: &str) -> Result<()> {
        guide.title("The person exports their data and deletes the account");
        let export = guide.call(&["ExportData", "--as", &self.email, "--compact"])?;
        let exported = export.answers.iter().map(Value::to_string).collect::<String>();
        ensure!(
            exported.contains("How did that feel?"),
            "the export lacks a message"
        );
        guide.say("Everything that data has about them, as a stream.");

        let export = guide.call(&["ExportAccount", "--as", &self.email, "--compact"])?;
        let exported = export.answers.iter().map(Value::to_string).collect::<String>();
        ensure!(
            exported.contains(&self.email) && exported.contains("withdrawTime"),
            "the export lacks the account or a withdrawn consent"
        );
        guide.say(
            "Everything that identity has about them. The two exports are the answer to an access request.",
        );

        let request = line(json!({"password": self.password}));
        guide.call(&["DeleteAccount", "--as", &self.email, "--compact", &request])?;
        guide.say("The deletion needs the password again, and cannot be undone.");

        let request = line(json!({"user_id": user_id}));
        for look in 1..=LOOKS {
            let deletion = guide.call(&["GetDeletion", "--service", "backend", "--compact", &request])?;
            if deletion.text("/deletion/state")? == "DELETION_STATE_DONE" {
                break;
            }
            ensure!(look < LOOKS, "the deletion is not done after {LOOKS} looks");
            sleep(PAUSE);
        }
        guide.say("The receipt counts the erased rows of both services. No content is left in it.");

        guide.refused(
            &["GetAccount", "--service", "backend", &request],
            73,
            "ACCOUNT_ERASED",
        )?;
        let request = line(json!({"email": self.email, "password": self.password}));
        guide.refused(&["SignIn", &request], 80, "CREDENTIALS_INVALID")?;
        guide.say("The account is gone: for a service, and for the person.");
        Ok(())
    }
}

/// Returns JSON on one line.
fn line(json: Value) -> String {
    json.to_string()
}

/// Returns random bytes in base64.
fn bytes(length: usize) -> String {
    let random: Vec<u8> = (0..length).map(|_| rand::random()).collect();
    BASE64_STANDARD.encode(random)
}

/// Returns the present time as JSON has it.
fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    let seconds = i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or_default();
    Timestamp { seconds, nanos: 0 }.to_string()
}
