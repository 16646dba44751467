//! Creates shares, and opens them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use haven_proto::data::v1::{CreateShareRequest, DeviceType, OpenShareRequest};
use haven_testkit::{Client, random};
use prost_types::Timestamp;

use super::{
    loaded_stack::{LoadedStack, sealed},
    measure::turn,
};

/// The `max_access_count` of each share.
const OPENINGS: usize = 1000;

/// The tokens of shares, in round-robin order, so that all shares are opened equally often, and not concurrently.
#[derive(Clone)]
pub(crate) struct Tokens {
    /// The passcode of the shares, or empty.
    pub(crate) passcode: String,
    tokens: Arc<Vec<String>>,
    next: Arc<AtomicUsize>,
}

/// A caller without an identity, who opens one share after the other.
pub(crate) struct Opener {
    pub(crate) client: Client,
    pub(crate) tokens: Tokens,
}

impl Tokens {
    /// Creates `shares` shares, of different people if there are enough of them.
    pub(crate) async fn create(loaded: &LoadedStack, shares: usize, passcode: &str) -> Result<Self> {
        let client = loaded.stack().anonymous()?;
        let mut tokens = Vec::with_capacity(shares);
        for person in loaded.served().cycle().take(shares) {
            let (encrypted_share_data, mut envelope) = sealed(person);
            // A share has its own key.
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
            let client = client.with_token(loaded.token(person))?;
            let response = client.share().create_share(request).await?;
            tokens.push(response.into_inner().token);
        }
        ensure!(!tokens.is_empty(), "no shares");
        Ok(Self {
            passcode: passcode.to_owned(),
            tokens: Arc::new(tokens),
            next: Arc::default(),
        })
    }

    /// Returns the next token.
    pub(crate) fn next(&self) -> String {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.tokens[next % self.tokens.len()].clone()
    }
}

impl turn::Caller for Opener {
    async fn call(&mut self) -> Result<u64> {
        let request = OpenShareRequest {
            token: self.tokens.next(),
            passcode: self.tokens.passcode.clone(),
            device_type: DeviceType::Mobile.into(),
        };
        let opened = self
            .client
            .share()
            .open_share(request)
            .await
            .context("OpenShare")?;
        ensure!(
            !opened.get_ref().encrypted_share_data.is_empty(),
            "the share is empty"
        );
        Ok(1)
    }
}
