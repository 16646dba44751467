//! `data share-hashes`: computes the arguments of the SQL functions that open shares, for operators who call them by
//! hand.

use std::{
    io::{self, Read, Write},
    num::NonZeroUsize,
    time::Duration,
};

use clap::Args;
use haven_platform::{
    application::CommandError,
    config::{ConfigProblems, SecretKeysArgs},
    deadline::Deadline,
    hashing::HashQueue,
    mac::{KeyId, SecretKeys},
};
use secrecy::{SecretString, zeroize::Zeroizing};
use thiserror::Error;

use crate::{
    domain::encrypted::{
        passcode::{Passcode, PasscodeHash},
        share_token::{ShareToken, TokenHashes},
    },
    passcodes::{PasscodeError, Passcodes},
};

/// The flags of `data share-hashes`.
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub struct ShareHashesArgs {
    #[command(flatten)]
    secret_keys: SecretKeysArgs,
}

const AFTER: &str = "\
Reads lines from standard input, because all users of the machine can see arguments: first the share's token. If the \
share has a passcode, the second line is the passcode, unchanged, and the third line is the recipe that \
data.share_passcode_recipe returns for the token's hash.

Prints the token's hash and, with three lines, the passcode's hash. Each is an SQL literal: they are the first two \
arguments of data.validate_share_token. When SECRET_KEY has several keys, prints them for each key, after the key's id: the share \
was made under one of them, and the hashes under the others find nothing. Does not connect to a database, and does not check that the share exists.

Exit codes: 0 printed, 1 invalid input, 64 invalid configuration.";

/// The number of bytes that are read: more than three valid lines can have.
const MAX_INPUT_BYTES: u64 = 4096;

/// The time limit for one hash, on a machine that is busy with others.
const HASH_TIMEOUT: Duration = Duration::from_secs(60);

/// The reason why the input is invalid. The text contains none of the input.
#[derive(Debug, Error)]
enum InputError {
    #[error("cannot read standard input: {0}")]
    Unreadable(io::Error),
    #[error("the first line must be a token that CreateShare returned")]
    NotAToken,
    #[error("the second line must be a passcode: {0}")]
    NotAPasscode(&'static str),
    #[error("the third line must be the recipe that data.share_passcode_recipe returns for the token's hash")]
    NoRecipe,
    #[error("the input must not have more lines than a token, a passcode and a recipe")]
    TooMany,
}

/// The parsed input of the command.
struct Input {
    token: ShareToken,
    /// The passcode and its recipe. `None` for a share without a passcode.
    passcode: Option<(Passcode, String)>,
}

/// Runs the command.
///
/// # Errors
///
/// When the configuration or the input is invalid.
pub(crate) async fn run(args: ShareHashesArgs) -> Result<(), CommandError> {
    let mut problems = ConfigProblems::new();
    let secrets = args.secret_keys.check(&mut problems);
    let secrets = problems.finish(secrets)?;
    let input = Input::read(io::stdin()).map_err(CommandError::failed)?;
    print(&secrets, input, &mut io::stdout()).await
}

impl Input {
    fn read(input: impl Read) -> Result<Self, InputError> {
        let mut text = Zeroizing::new(String::new());
        let mut input = input.take(MAX_INPUT_BYTES);
        input.read_to_string(&mut text).map_err(InputError::Unreadable)?;
        let mut lines = text.lines();
        let token = SecretString::from(lines.next().unwrap_or_default());
        let token = ShareToken::parse(&token).ok_or(InputError::NotAToken)?;
        // An empty line means no passcode, as an empty field of a request does.
        let parsed = Passcode::parse(lines.next().unwrap_or_default().into());
        let parsed = parsed.map_err(|problem| InputError::NotAPasscode(problem.description()))?;
        let recipe = lines.next().unwrap_or_default();
        let passcode = match parsed {
            Some(_) if recipe.is_empty() => return Err(InputError::NoRecipe),
            Some(passcode) => Some((passcode, recipe.to_owned())),
            None => None,
        };
        match lines.next() {
            Some(_) => Err(InputError::TooMany),
            None => Ok(Self { token, passcode }),
        }
    }
}

async fn print(secrets: &SecretKeys, input: Input, output: &mut impl Write) -> Result<(), CommandError> {
    let hashes = TokenHashes::new(secrets);
    let several = secrets.ids().count() > 1;
    for key in secrets.ids() {
        if several {
            writeln!(output, "key           {key}").map_err(CommandError::failed)?;
        }
        let token_hash = hashes.under(key, &input.token);
        let hex: String = token_hash
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        writeln!(output, "token_hash    '\\x{hex}'").map_err(CommandError::failed)?;
        if let Some((passcode, recipe)) = &input.passcode {
            let passcode_hash = hash(secrets, key, passcode, recipe)
                .await
                .map_err(CommandError::failed)?;
            writeln!(output, "passcode_hash '{}'", passcode_hash.expose()).map_err(CommandError::failed)?;
        }
    }
    Ok(())
}

async fn hash(
    secrets: &SecretKeys,
    key: KeyId,
    passcode: &Passcode,
    recipe: &str,
) -> Result<PasscodeHash, PasscodeError> {
    let passcodes = Passcodes::new(HashQueue::new(NonZeroUsize::MIN), secrets)?;
    let permit = passcodes.anonymous_permit(None)?;
    let deadline = Deadline::after(HASH_TIMEOUT);
    passcodes
        .hash_attempt(permit, passcode, Some((key, recipe)), deadline)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> String {
        ShareToken::new([7; 32]).write()
    }

    fn read(text: &str) -> Result<Input, String> {
        Input::read(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_are_parsed_unchanged() {
        for text in [token(), format!("{}\n", token()), format!("{}\r\n\n", token())] {
            let input = read(&text).unwrap();
            assert_eq!(input.token.expose(), [7; 32]);
            assert!(input.passcode.is_none());
        }
        let input = read(&format!("{}\n  é 4 \n$argon2id\n", token())).unwrap();
        let (passcode, recipe) = input.passcode.unwrap();
        assert_eq!(passcode.expose(), "  é 4 ".as_bytes());
        assert_eq!(recipe, "$argon2id");
    }

    #[test]
    fn an_error_names_the_rule_and_does_not_show_the_input() {
        let token = token();
        for (text, expected) in [
            (String::new(), "the first line"),
            ("canary".into(), "the first line"),
            (format!("{token}\ncan\n"), "at least 4"),
            (format!("{token}\n{}\n", "canary".repeat(30)), "at most 128"),
            (format!("{token}\ncanary\n"), "data.share_passcode_recipe"),
            (format!("{token}\ncanary\n$\ncanary"), "more lines"),
            (format!("{token}\n\n\ncanary"), "more lines"),
        ] {
            let error = read(&text).err().unwrap();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("can") && !error.contains(&token), "{error}");
        }
    }
}
