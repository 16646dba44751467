//! What a successful call teaches about people: `--as` uses it later.

use anyhow::Result;
use prost_reflect::{DynamicMessage, prost_types::Timestamp};

use super::exchange::Exchange;
use crate::people::{People, Session};

/// Stores in `people` what follows from the call that `exchange` made as the person `caller`, and from its last answer.
pub(super) fn learn(
    people: &People,
    exchange: &Exchange<'_>,
    caller: Option<&str>,
    answer: Option<&DynamicMessage>,
) -> Result<()> {
    let request = exchange.messages.first();
    let rpc = exchange.rpc.full_name();
    let Some(rpc) = rpc.strip_prefix("haven.identity.v1.") else {
        return Ok(());
    };
    let (email, password) = (text(request, "email"), text(request, "password"));
    match (rpc, caller, email, password) {
        ("AccountService/SignUp", _, Some(email), Some(password)) => {
            // Also an earlier person with this address, who was erased.
            people.forget(&email)?;
            people.remember([(email.as_str(), password.as_str())])
        }
        ("SessionService/SignIn", _, Some(email), Some(password)) => {
            people.remember([(email.as_str(), password.as_str())])?;
            // A kept session stays: this one may be meant for something else.
            match people.find(&email)?.session {
                Some(_) => Ok(()),
                None => people.sign_in(&email, answer.and_then(session)),
            }
        }
        ("AccountService/ChangePassword", Some(caller), ..) => match text(request, "new_password") {
            Some(password) => people.remember([(caller, password.as_str())]),
            None => Ok(()),
        },
        ("SessionService/SignOut", Some(caller), ..) => people.sign_in(caller, None),
        ("AccountService/DeleteAccount", Some(caller), ..) => people.forget(caller),
        _ => Ok(()),
    }
}

/// Returns the text in the field `name` of a message, if it has one.
pub(super) fn text(message: Option<&DynamicMessage>, name: &str) -> Option<String> {
    let value = message?.get_field_by_name(name)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Returns the session in an answer of SignIn.
fn session(answer: &DynamicMessage) -> Option<Session> {
    let access_token = text(Some(answer), "access_token")?;
    let refresh_token = text(Some(answer), "refresh_token")?;
    let expires = answer.get_field_by_name("access_token_expire_time")?;
    let expires = expires.as_message()?.transcode_to::<Timestamp>().ok();
    Some(Session::new(access_token, expires, refresh_token))
}
