//! Shares, to be opened.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, ensure};
use chrono::Utc;
use haven_proto::data::v1::CreateShareRequest;
use haven_testkit::random;
use prost_types::Timestamp;

use super::world::{World, sealed};

/// How often a share may be opened, at most.
const OPENINGS: usize = 1000;

/// The tokens of shares, in turns: each share is opened as often as every other, and by nobody twice at once.
#[derive(Clone)]
pub(crate) struct Tokens {
    /// What opens them, beside the token. Empty: nothing.
    pub(crate) passcode: String,
    tokens: Arc<Vec<String>>,
    next: Arc<AtomicUsize>,
}

impl Tokens {
    /// So many shares of different people, as long as there are so many, with a passcode or without.
    pub(crate) async fn make(world: &World, shares: usize, passcode: &str) -> Result<Self> {
        let client = world.stack.anonymous()?;
        let mut tokens = Vec::with_capacity(shares);
        for person in world.served().cycle().take(shares) {
            let (encrypted_share_data, mut envelope) = sealed(person);
            // A share has a key of its own.
            envelope.key_id = random::uuid().to_string();
            let request = CreateShareRequest {
                share_id: String::new(),
                encrypted_share_data,
                crypto_envelope: Some(envelope),
                expire_time: Some(Timestamp {
                    seconds: Utc::now().timestamp() + 24 * 3600,
                    nanos: 0,
                }),
                max_access_count: OPENINGS as i32,
                passcode: passcode.to_owned(),
                request_id: random::uuid().to_string(),
            };
            let client = client.with_token(world.token(person))?;
            let answer = client.share().create_share(request).await?;
            tokens.push(answer.into_inner().token);
        }
        ensure!(!tokens.is_empty(), "no shares");
        Ok(Self {
            passcode: passcode.to_owned(),
            tokens: Arc::new(tokens),
            next: Arc::default(),
        })
    }

    /// The next token.
    pub(crate) fn next(&self) -> String {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.tokens[next % self.tokens.len()].clone()
    }
}
