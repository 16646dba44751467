//! The Cluster of an overlay on this machine: what CloudNativePG does to a new Postgres, in its order.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use haven_testkit::{
    certificates::Certificates,
    cluster::{self, Cluster, ConfigFiles, Settings},
    database::Database,
    installation::Installation,
    port::Port,
    secrets::{SUPERUSER, Secrets},
    state::State,
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    overlay::{Overlay, items, text, texts},
    secret_store::SecretStore,
};

/// What only a superuser can grant, so that the scripts leave it to CloudNativePG: the login and what it is given.
const BY_SUPERUSER: [(&str, &str); 2] = [
    ("haven_backup", "pg_read_all_settings"),
    ("haven_monitor", "pg_monitor"),
];

/// A Postgres with the roles and the database of a Cluster.
pub(super) struct Postgres {
    // Dropped first, so that it stops before another process can take the directory.
    cluster: Cluster,
    pub(super) certificates: Certificates,
    database: String,
    _state: State,
    _port: Port,
}

impl Postgres {
    /// Starts an empty Postgres.
    pub(super) async fn start() -> Result<Self> {
        let state = State::take_any_in_memory("kubernetes")?;
        cluster::discard(&state)?;
        let certificates = Certificates::keep(&state.path().join("certificates"))?;
        let port = Port::reserve()?;
        let settings = Settings {
            port: port.number(),
            durable: false,
            connections: 100,
            files: ConfigFiles::Development,
        };
        let secrets = std::sync::Arc::new(Secrets::keep(state.path())?);
        let installation = Installation::require(|line| eprintln!("{line}"))?;
        let cluster = Cluster::start(&installation, state.path(), &certificates, secrets, settings).await?;
        Ok(Self {
            cluster,
            certificates,
            database: String::new(),
            _state: state,
            _port: port,
        })
    }

    /// Returns the port on which it listens.
    pub(super) fn port(&self) -> u16 {
        self.superuser().port
    }

    /// Does what CloudNativePG does when it creates the Cluster of `overlay`.
    pub(super) async fn bootstrap(&mut self, overlay: &Overlay, store: &SecretStore) -> Result<()> {
        let cluster = overlay.one("Cluster", "haven-postgres")?;
        let initdb = &cluster["spec"]["bootstrap"]["initdb"];
        let (owner, name) = (text(initdb, "/owner"), text(initdb, "/database"));
        self.superuser()
            .run(SUPERUSER, &format!("CREATE ROLE {owner} LOGIN"))
            .await?;
        for sql in texts(initdb, "/postInitSQL") {
            self.superuser().run(SUPERUSER, sql).await?;
        }
        self.superuser()
            .run(SUPERUSER, &format!("CREATE DATABASE {name} OWNER {owner}"))
            .await?;
        self.database = name.to_owned();
        for reference in items(initdb, "/postInitApplicationSQLRefs/configMapRefs") {
            let (map, key) = (text(reference, "/name"), text(reference, "/key"));
            let script = store.config_maps.get(map).and_then(|map| map.get(key));
            let script = script.with_context(|| format!("no ConfigMap {map} with the key {key}"))?;
            // A connection for each script, as CloudNativePG has.
            self.application()
                .run(SUPERUSER, std::str::from_utf8(script)?)
                .await
                .with_context(|| key.to_owned())?;
        }
        let password = store.password(text(initdb, "/secret/name"), owner)?;
        let password = format!("ALTER ROLE {owner} PASSWORD '{password}'");
        self.superuser().run(SUPERUSER, &password).await?;
        self.manage_roles(cluster, store).await
    }

    /// Gives the managed roles their passwords, after a check that the scripts and the Cluster agree about the rest:
    /// otherwise CloudNativePG would change what the scripts declared, and the scripts would refuse the next upgrade.
    async fn manage_roles(&self, cluster: &Value, store: &SecretStore) -> Result<()> {
        let mut superuser = self.application().connect(SUPERUSER).await?;
        for role in items(cluster, "/spec/managed/roles") {
            let name = text(role, "/name");
            let flag = |key, default| role.get(key).and_then(Value::as_bool).unwrap_or(default);
            let declared = (
                flag("login", false),
                flag("inherit", true),
                ["superuser", "createdb", "createrole", "bypassrls"].map(|key| flag(key, false)),
            );
            let made = "SELECT rolcanlogin, rolinherit,
                               ARRAY[rolsuper, rolcreatedb, rolcreaterole, rolbypassrls]
                          FROM pg_roles WHERE rolname = $1";
            let made: (bool, bool, Vec<bool>) = sqlx::query_as(made)
                .bind(name)
                .fetch_one(&mut superuser)
                .await
                .with_context(|| format!("the scripts do not create {name}"))?;
            ensure!(
                (made.0, made.1, made.2.as_slice()) == (declared.0, declared.1, &declared.2[..]),
                "{name}: the Cluster declares {declared:?}, and the scripts made {made:?}"
            );
            ensure!(!flag("replication", false), "{name}: replication");
            let declared: BTreeSet<String> = texts(role, "/inRoles").into_iter().map(str::to_owned).collect();
            let mut expected = memberships(name, &mut superuser).await?;
            let by_superuser = BY_SUPERUSER.iter().filter(|(login, _)| *login == name);
            expected.extend(by_superuser.map(|(_, granted)| (*granted).to_owned()));
            ensure!(
                declared == expected,
                "{name}: the Cluster declares {declared:?}, and the scripts made {expected:?}"
            );
            let password = store.password(text(role, "/passwordSecret/name"), name)?;
            let mut sql = format!("ALTER ROLE {name} PASSWORD '{password}'");
            for granted in declared {
                sql.push_str(&format!("; GRANT {granted} TO {name}"));
            }
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut superuser).await?;
        }
        let without = "SELECT rolname::text FROM pg_authid WHERE rolcanlogin AND rolpassword IS NULL";
        let without: Vec<String> = sqlx::query_scalar(without).fetch_all(&mut superuser).await?;
        ensure!(without.is_empty(), "these logins have no password: {without:?}");
        Ok(())
    }

    fn superuser(&self) -> Database {
        self.cluster.database(SUPERUSER)
    }

    fn application(&self) -> Database {
        self.cluster.database(&self.database)
    }
}

/// Returns the roles that `login` is a member of.
async fn memberships(login: &str, superuser: &mut PgConnection) -> Result<BTreeSet<String>> {
    let sql = "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = $1::regrole";
    let roles: Vec<String> = sqlx::query_scalar(sql).bind(login).fetch_all(superuser).await?;
    Ok(roles.into_iter().collect())
}
