//! Schema compatibility: the rule that decides whether a program may serve from a schema of another version.
//!
//! A program knows the migrations that it was built with. It serves from a schema that has all of them, and may have newer
//! ones as long as the schema allows programs that do not know those: each migration declares the oldest program that it
//! allows, by the version of that program's newest migration. So replicas of two versions can run beside each other during
//! an upgrade, and one of the older version can restart.

/// The reason why a program must not serve from a schema. Both versions are those of migrations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Incompatible {
    /// The schema lacks migrations of the program.
    #[error(
        "schema {schema} has version {version}, and this program needs {program} or newer: run its `migrate`"
    )]
    OldSchema {
        schema: &'static str,
        version: i64,
        program: i64,
    },
    /// The schema has a migration that does not allow the program.
    #[error(
        "schema {schema} has version {version}, which allows programs for {oldest} or newer, and this program is for \
         {program}: run a newer program; or, to stay with this one, revert the schema with the newer program's \
         `migrate --undo-to {program}`"
    )]
    OldProgram {
        schema: &'static str,
        version: i64,
        oldest: i64,
        program: i64,
    },
}

/// The versions of a schema, as its migrations declare them.
#[derive(Clone, Copy, Debug)]
pub(super) struct SchemaVersion {
    /// The schema.
    pub(super) schema: &'static str,
    /// The newest applied migration.
    pub(super) version: i64,
    /// The newest migration of the oldest program that the schema allows.
    pub(super) oldest: i64,
}

impl SchemaVersion {
    /// Checks that a program with the newest migration `program` may serve from the schema.
    ///
    /// # Errors
    ///
    /// [`Incompatible`] when it must not.
    pub(super) fn check(self, program: i64) -> Result<(), Incompatible> {
        let Self {
            schema,
            version,
            oldest,
        } = self;
        if version < program {
            Err(Incompatible::OldSchema {
                schema,
                version,
                program,
            })
        } else if version > program && oldest > program {
            Err(Incompatible::OldProgram {
                schema,
                version,
                oldest,
                program,
            })
        } else {
            Ok(())
        }
    }
}

/// Returns the query for the version of `schema`.
pub(super) fn version(schema: &str) -> String {
    format!("SELECT {schema}.schema_version() AS version")
}

/// Returns the query for the oldest program that `schema` allows. The function exists in every version that a program
/// with this query needs.
pub(super) fn oldest(schema: &str) -> String {
    format!("SELECT {schema}.oldest_binary() AS oldest")
}

/// Returns the expression for the key of the lock that `migrate` takes on `schema` for each migration.
pub(super) fn migration_lock(schema: &str) -> String {
    format!("hashtextextended('{schema}._sqlx_migrations', 0)")
}

/// Returns the query for whether a migration of `schema` is being applied.
pub(super) fn migrating(schema: &str) -> String {
    format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l
                         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                           AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
                           AND (l.classid::int8 << 32 | l.objid::int8) = {}) AS migrating",
        migration_lock(schema)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_serves_from_its_own_version_and_from_newer_ones_that_allow_it() {
        for (version, oldest, expected) in [
            (20, 10, None),
            (20, 20, None),
            (30, 10, None),
            (30, 20, None),
            (10, 10, Some("has version 10, and this program needs 20 or newer")),
            (0, 0, Some("run its `migrate`")),
            (
                30,
                21,
                Some("allows programs for 21 or newer, and this program is for 20"),
            ),
            (30, 30, Some("`migrate --undo-to 20`")),
        ] {
            let schema = SchemaVersion {
                schema: "data",
                version,
                oldest,
            };
            let refusal = schema.check(20).err().map(|error| error.to_string());
            match (&refusal, expected) {
                (Some(refusal), Some(expected)) => assert!(refusal.contains(expected), "{refusal}"),
                (None, None) => {}
                _ => panic!("version {version}, oldest {oldest}: {refusal:?}"),
            }
        }
    }
}
