//! A stack that `cargo dev call` takes for the running installation.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Output},
};

use haven_testkit::{Stack, binaries::Binaries, state::ROOT_VARIABLE};
use serde_json::{Deserializer, Value, json};
use tempfile::TempDir;

/// A state directory that names the ports and the certificates of a stack, and that is locked as that of `cargo dev`.
pub(super) struct Announced {
    root: TempDir,
    _lock: File,
}

/// What the program printed.
pub(super) struct Printed {
    pub(super) code: i32,
    pub(super) output: String,
    pub(super) error: String,
}

impl Announced {
    /// Announces `stack`. People that `cargo dev call` learns about are stored in a directory of its own.
    pub(super) fn new(stack: &Stack) -> Self {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("dev");
        fs::create_dir(&state).unwrap();
        symlink(
            stack.certificates.authority().parent().unwrap(),
            state.join("certificates"),
        )
        .unwrap();
        let (identity, data) = (stack.identity.listeners, stack.data.listeners);
        let ports = json!({
            "identity_port": identity.api,
            "identity_health_port": identity.health,
            "identity_metrics_port": identity.metrics,
            "data_port": data.api,
            "data_health_port": data.health,
            "data_metrics_port": data.metrics,
            "postgres_port": stack.database.port,
        });
        fs::write(state.join("ports.json"), ports.to_string()).unwrap();
        let lock = File::create(root.path().join("dev.lock")).unwrap();
        lock.try_lock().unwrap();
        Self { root, _lock: lock }
    }

    /// Returns the file with the people that the program knows.
    pub(super) fn people(&self) -> PathBuf {
        self.root.path().join("dev/people.json")
    }

    /// Runs `cargo dev call` with `arguments`.
    pub(super) fn call(&self, arguments: &[&str]) -> Printed {
        self.run(&[&["call"], arguments].concat())
    }

    /// Runs `cargo dev` with `arguments`.
    pub(super) fn run(&self, arguments: &[&str]) -> Printed {
        let mut command = Command::new(Binaries::build().unwrap().dev);
        command.args(arguments).env(ROOT_VARIABLE, self.root.path());
        Printed::of(command.env_remove("HAVEN_PASSWORD").output().unwrap())
    }
}

impl Printed {
    pub(super) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            output: String::from_utf8(output.stdout).unwrap(),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Returns the JSON values of a command that succeeded.
    #[track_caller]
    pub(super) fn values(&self) -> Vec<Value> {
        assert_eq!(self.code, 0, "{}", self.error);
        Deserializer::from_str(&self.output)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    /// Returns the only JSON value of a command that succeeded.
    #[track_caller]
    pub(super) fn value(&self) -> Value {
        let mut values = self.values();
        assert_eq!(values.len(), 1, "{}", self.output);
        values.remove(0)
    }

    /// Checks that the command failed with `code`, and that its message contains all `parts`.
    #[track_caller]
    pub(super) fn failed(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.output, self.error);
        for part in parts {
            assert!(self.error.contains(part), "{part} is not in: {}", self.error);
        }
    }
}
