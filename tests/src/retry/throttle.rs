//! The limit of all retries on a channel (gRFC A6, "Throttling Retry Attempts and Hedged RPCs").

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::config::Throttling;

/// The tokens of a channel. All clones of its service share them.
#[derive(Debug)]
pub(super) struct Throttle {
    settings: Option<Throttling>,
    tokens: Mutex<f64>,
}

impl Throttle {
    /// Creates the full number of tokens. Without settings, retries are not limited.
    pub(super) fn new(settings: Option<Throttling>) -> Self {
        let tokens = settings.map_or(0.0, |settings| settings.max_tokens.into());
        Self {
            settings,
            tokens: Mutex::new(tokens),
        }
    }

    /// Counts a success.
    pub(super) fn succeeded(&self) {
        if let Some(settings) = self.settings {
            let mut tokens = self.tokens();
            *tokens = (*tokens + settings.token_ratio).min(settings.max_tokens.into());
        }
    }

    /// Counts a failure, and returns whether calls may be retried.
    pub(super) fn failed(&self) -> bool {
        let Some(settings) = self.settings else {
            return true;
        };
        let mut tokens = self.tokens();
        *tokens = (*tokens - 1.0).max(0.0);
        *tokens > f64::from(settings.max_tokens) / 2.0
    }

    fn tokens(&self) -> MutexGuard<'_, f64> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
