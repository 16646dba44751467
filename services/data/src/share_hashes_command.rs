//! `data share-hashes`: what the SQL functions that open shares take, for whoever has a token and calls them by hand.

use std::{
    io::{self, Read, Write},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use haven_platform::{
    application::CommandError,
    config::{ConfigProblems, secret_key},
    deadline::Deadline,
    hashing::HashQueue,
    mac::SecretKey,
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

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub struct ShareHashesArgs {
    /// The data service's secret for page tokens and keyed hashes: 32 bytes in base64
    #[arg(long, env = "SECRET_KEY", value_name = "BASE64", hide_env_values = true)]
    secret_key: Option<SecretString>,
    /// A file that holds SECRET_KEY
    #[arg(long, env = "SECRET_KEY_FILE", value_name = "FILE")]
    secret_key_file: Option<PathBuf>,
}

const AFTER: &str = "\
Reads lines from standard input, and not from arguments, which everybody on the machine can see: first the share's \
token. If the share has a passcode, then that, exactly as it is, and then the recipe that data.share_passcode_recipe \
answers for the token's hash.

Prints the token's hash, and with three lines the passcode's, each as an SQL literal: the first two arguments of \
data.validate_share_token. Reaches no database, and does not know whether there is such a share.

Exit codes: 0 printed, 1 the lines are not what they have to be, 64 the configuration is wrong.";

/// More bytes than three lines can have.
const MOST_READ: u64 = 4096;

/// For one hash, on a machine that is busy with others.
const LONGEST: Duration = Duration::from_secs(60);

/// Why there is nothing to print. Nothing of what was read is in it.
#[derive(Debug, Error)]
enum InputError {
    #[error("standard input cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("the first line has to be a token, as CreateShare answers one")]
    NotAToken,
    #[error("the second line has to be a passcode: {0}")]
    NotAPasscode(&'static str),
    #[error(
        "a passcode needs a third line: the recipe that data.share_passcode_recipe answers for the token's hash"
    )]
    NoRecipe,
    #[error("there are more lines than a token, a passcode and a recipe")]
    TooMany,
}

/// What was read.
struct Input {
    token: ShareToken,
    guarded: Option<(Passcode, String)>,
}

/// Does what `args` say.
///
/// # Errors
///
/// When the configuration is wrong, or what is read is not what it has to be.
pub(crate) async fn run(args: ShareHashesArgs) -> Result<(), CommandError> {
    let mut problems = ConfigProblems::new();
    let secret = args.check(&mut problems);
    let secret = problems.finish(secret)?;
    let input = Input::read(io::stdin()).map_err(CommandError::failed)?;
    print(&secret, input, &mut io::stdout()).await
}

impl ShareHashesArgs {
    fn check(&self, problems: &mut ConfigProblems) -> Option<SecretKey> {
        const NAME: &str = "SECRET_KEY";
        let text = problems.secret(NAME, self.secret_key.as_ref(), self.secret_key_file.as_ref())?;
        problems.take(NAME, secret_key(&text))
    }
}

impl Input {
    fn read(input: impl Read) -> Result<Self, InputError> {
        let mut text = Zeroizing::new(String::new());
        let mut input = input.take(MOST_READ);
        input.read_to_string(&mut text).map_err(InputError::Unreadable)?;
        let mut lines = text.lines();
        let token = SecretString::from(lines.next().unwrap_or_default());
        let token = ShareToken::parse(&token).ok_or(InputError::NotAToken)?;
        // An empty line says no passcode, as an empty field does.
        let passcode = Passcode::parse(lines.next().unwrap_or_default().into());
        let passcode = passcode.map_err(|problem| InputError::NotAPasscode(problem.description()))?;
        let recipe = lines.next().unwrap_or_default();
        let guarded = match passcode {
            Some(_) if recipe.is_empty() => return Err(InputError::NoRecipe),
            Some(passcode) => Some((passcode, recipe.to_owned())),
            None => None,
        };
        match lines.next() {
            Some(_) => Err(InputError::TooMany),
            None => Ok(Self { token, guarded }),
        }
    }
}

async fn print(secret: &SecretKey, input: Input, output: &mut impl Write) -> Result<(), CommandError> {
    let token_hash = TokenHashes::new(secret).of(&input.token);
    let passcode_hash = match input.guarded {
        Some((passcode, recipe)) => Some(
            hash(secret, passcode, &recipe)
                .await
                .map_err(CommandError::failed)?,
        ),
        None => None,
    };
    let hex: String = token_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(output, "token_hash    '\\x{hex}'").map_err(CommandError::failed)?;
    if let Some(passcode_hash) = passcode_hash {
        writeln!(output, "passcode_hash '{}'", passcode_hash.expose()).map_err(CommandError::failed)?;
    }
    Ok(())
}

async fn hash(secret: &SecretKey, passcode: Passcode, recipe: &str) -> Result<PasscodeHash, PasscodeError> {
    let passcodes = Passcodes::new(HashQueue::new(NonZeroUsize::MIN), secret)?;
    let stranger = passcodes.stranger(None)?;
    let deadline = Deadline::after(LONGEST);
    passcodes.try_by(stranger, passcode, Some(recipe), deadline).await
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
    fn lines_are_taken_as_they_are() {
        for text in [token(), format!("{}\n", token()), format!("{}\r\n\n", token())] {
            let input = read(&text).unwrap();
            assert_eq!(input.token.expose(), [7; 32]);
            assert!(input.guarded.is_none());
        }
        let input = read(&format!("{}\n  é 4 \n$argon2id\n", token())).unwrap();
        let (passcode, recipe) = input.guarded.unwrap();
        assert_eq!(passcode.expose(), "  é 4 ".as_bytes());
        assert_eq!(recipe, "$argon2id");
    }

    #[test]
    fn what_is_wrong_is_said_and_not_shown() {
        let token = token();
        for (text, complaint) in [
            (String::new(), "the first line"),
            ("canary".into(), "the first line"),
            (format!("{token}\ncan\n"), "needs at least 4"),
            (format!("{token}\n{}\n", "canary".repeat(30)), "at most 128"),
            (format!("{token}\ncanary\n"), "data.share_passcode_recipe"),
            (format!("{token}\ncanary\n$\ncanary"), "more lines"),
            (format!("{token}\n\n\ncanary"), "more lines"),
        ] {
            let said = read(&text).err().unwrap();
            assert!(said.contains(complaint), "{said}");
            assert!(!said.contains("can") && !said.contains(&token), "{said}");
        }
    }
}
