//! What the specs of the browser ask of the stack.

use std::fs;

use anyhow::{Result, bail, ensure};
use haven_proto::identity::v1::{
    CreateEmailChangeRequest, CreateEmailVerificationRequest, CreatePasswordResetRequest,
};
use haven_testkit::{Stack, environment::Variables, random, service::Service};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    pages,
    shares::{self, ShareWish},
};
use crate::superuser_sql::scalar_with;

/// A command. `deploy/web/tests/harness/haven.ts` says what each is for.
#[derive(Deserialize)]
#[serde(
    tag = "command",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub(super) enum Command {
    /// Makes an account. What is not given is invented.
    SignUp {
        email: Option<String>,
        password: Option<String>,
    },
    PasswordReset {
        email: String,
    },
    EmailVerification {
        user_id: String,
    },
    EmailChange {
        user_id: String,
        email: String,
    },
    Share(ShareWish),
    RevokeShare {
        share_id: String,
        email: String,
        password: String,
    },
    TamperShare {
        share_id: String,
    },
    ExpireShare {
        share_id: String,
    },
    /// How many accounts have the address.
    Accounts {
        email: String,
    },
    /// What both services and nginx have logged.
    Logs,
    Stop {
        service: String,
    },
    Start {
        service: String,
    },
    /// Stops the service, and starts it with these variables beside those that it has had from the beginning.
    Restart {
        service: String,
        variables: Variables,
    },
    /// Runs both services as at the beginning.
    Restore,
}

/// Runs commands on a stack.
pub(super) struct Commands<'a> {
    stack: &'a mut Stack,
    /// The variables of identity and data at the beginning.
    variables: [Variables; 2],
}

impl<'a> Commands<'a> {
    pub(super) fn new(stack: &'a mut Stack) -> Self {
        let variables = [stack.identity.variables.clone(), stack.data.variables.clone()];
        Self { stack, variables }
    }

    /// Runs a command, and returns what the spec gets.
    pub(super) async fn run(&mut self, command: Command) -> Result<Value> {
        match command {
            Command::SignUp { email, password } => self.sign_up(email, password).await,
            Command::PasswordReset { email } => self.password_reset(email).await,
            Command::EmailVerification { user_id } => self.email_verification(user_id).await,
            Command::EmailChange { user_id, email } => self.email_change(user_id, email).await,
            Command::Share(wish) => shares::create(self.stack, wish).await,
            Command::RevokeShare {
                share_id,
                email,
                password,
            } => shares::revoke(self.stack, share_id, &email, &password).await,
            Command::TamperShare { share_id } => shares::tamper(self.stack, &share_id).await,
            Command::ExpireShare { share_id } => shares::expire(self.stack, &share_id).await,
            Command::Accounts { email } => {
                let sql = "SELECT count(*) FROM identity.users WHERE email = $1";
                let accounts: i64 = scalar_with(&self.stack.database, sql, email).await;
                Ok(json!(accounts))
            }
            Command::Logs => self.logs(),
            Command::Stop { service } => {
                ensure!(self.service(&service)?.stop(), "{service} did not stop in time");
                Ok(Value::Null)
            }
            Command::Start { service } => {
                self.service(&service)?.start().await?;
                Ok(Value::Null)
            }
            Command::Restart { service, variables } => self.restart(&service, variables).await,
            Command::Restore => self.restore().await,
        }
    }

    /// Returns what both services and nginx have logged.
    fn logs(&self) -> Result<Value> {
        let [identity, data] = [self.stack.identity.output()?, self.stack.data.output()?];
        let pages = fs::read_to_string(pages::log(self.stack))?;
        Ok(json!(identity + &data + &pages))
    }

    async fn sign_up(&self, email: Option<String>, password: Option<String>) -> Result<Value> {
        let invented = random::uuid().simple();
        let email = email.unwrap_or_else(|| format!("person-{invented}@example.org"));
        let password = password.unwrap_or_else(|| format!("Aa1-{:x}", rand::random::<u128>()));
        let person = self.stack.anonymous()?.sign_up_and_in(&email, &password).await?;
        Ok(json!({ "email": email, "password": password, "userId": person.id.to_string() }))
    }

    async fn password_reset(&self, email: String) -> Result<Value> {
        let request = CreatePasswordResetRequest {
            email,
            request_id: random::uuid().to_string(),
        };
        let mut recovery = self.stack.service("backend")?.recovery();
        let created = recovery.create_password_reset(request).await?.into_inner();
        Ok(json!({ "token": created.token }))
    }

    async fn email_verification(&self, user_id: String) -> Result<Value> {
        let request = CreateEmailVerificationRequest {
            user_id,
            request_id: random::uuid().to_string(),
        };
        let mut recovery = self.stack.service("backend")?.recovery();
        let created = recovery.create_email_verification(request).await?.into_inner();
        Ok(json!({ "token": created.token }))
    }

    async fn email_change(&self, user_id: String, email: String) -> Result<Value> {
        let request = CreateEmailChangeRequest {
            user_id,
            email,
            request_id: random::uuid().to_string(),
        };
        let mut recovery = self.stack.service("backend")?.recovery();
        let created = recovery.create_email_change(request).await?.into_inner();
        Ok(json!({ "token": created.token, "undoToken": created.undo_token }))
    }

    async fn restart(&mut self, name: &str, variables: Variables) -> Result<Value> {
        let mut all = self.variables[usize::from(name == "data")].clone();
        all.extend(variables);
        let service = self.service(name)?;
        ensure!(service.stop(), "{name} did not stop in time");
        service.variables = all;
        service.start().await?;
        Ok(Value::Null)
    }

    async fn restore(&mut self) -> Result<Value> {
        for (name, variables) in ["identity", "data"].into_iter().zip(self.variables.clone()) {
            let service = self.service(name)?;
            if service.variables != variables || !service.runs() {
                service.stop();
                service.variables = variables;
                service.start().await?;
            }
        }
        Ok(Value::Null)
    }

    fn service(&mut self, name: &str) -> Result<&mut Service> {
        match name {
            "identity" => Ok(&mut self.stack.identity),
            "data" => Ok(&mut self.stack.data),
            _ => bail!("no service {name}"),
        }
    }
}
