//! The conversion of accounts and their errors into messages and failures.

use haven_platform::{failure::Failure, reason::Reason, time::timestamp};
use haven_proto::identity::v1 as proto;
use secrecy::ExposeSecret;

use super::goals::goal_value;
use crate::{domain::account::Account, store::account::AccountError};

/// Converts `account` into its message.
pub(super) fn account_message(account: &Account) -> proto::Account {
    let goals = account.goals.iter().flat_map(|goals| goals.iter());
    let email = account.email.as_ref().map(|email| email.expose_secret());
    proto::Account {
        id: account.id.to_string(),
        email: email.unwrap_or_default().to_owned(),
        goals: goals.map(|goal| i32::from(goal_value(goal))).collect(),
        stage: account.progress.stage.get().into(),
        create_time: Some(timestamp(account.created_at)),
        update_time: Some(timestamp(account.updated_at)),
        version: account.version,
        graduated: account.progress.graduated_at.is_some(),
        graduate_time: account.progress.graduated_at.map(timestamp),
        last_active_time: account.last_active_at.map(timestamp),
        email_verified_time: account.email_verified_at.map(timestamp),
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NotFound => Self::new(Reason::NotFound),
            AccountError::Erased => Self::new(Reason::AccountErased),
            AccountError::Database(error) => error.into(),
        }
    }
}
