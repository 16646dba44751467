//! A way to break a server.

/// A way to break a server, and what `check-database` says about it.
pub(super) struct Breakage {
    /// The check that fails.
    pub(super) check: &'static str,
    /// The change that breaks the server.
    pub(super) change: Change,
    /// A part of a violation that the failure names.
    pub(super) object: &'static str,
    /// The checks that the same change cannot but fail too.
    pub(super) also: &'static [&'static str],
    /// The program that runs the checks.
    pub(super) service: &'static str,
    /// The login that the program uses, without the schema.
    pub(super) login: &'static str,
    /// True if the program connects without TLS.
    pub(super) plain: bool,
}

/// A change of a server. Each statement is run by the superuser, on its own.
pub(super) enum Change {
    /// No change.
    None,
    /// Statements that take effect at once, and those that undo them.
    Sql(&'static [&'static str], &'static [&'static str]),
    /// Settings of the server: names and values.
    Settings(&'static [(&'static str, &'static str)]),
    /// A line in front of `pg_hba.conf`, and settings of the server.
    Access(&'static str, &'static [(&'static str, &'static str)]),
}

impl Breakage {
    /// Returns a breakage that `data check-database` finds.
    pub(super) const fn new(check: &'static str, object: &'static str, change: Change) -> Self {
        Self {
            check,
            change,
            object,
            also: &[],
            service: "data",
            login: "worker",
            plain: false,
        }
    }

    /// Returns a breakage by statements, with the statements that undo it.
    pub(super) const fn sql(
        check: &'static str,
        object: &'static str,
        breaks: &'static [&'static str],
        mends: &'static [&'static str],
    ) -> Self {
        Self::new(check, object, Change::Sql(breaks, mends))
    }

    /// Returns a breakage by settings of the server.
    pub(super) const fn settings(
        check: &'static str,
        object: &'static str,
        settings: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self::new(check, object, Change::Settings(settings))
    }

    /// Returns a breakage by a line in front of `pg_hba.conf`.
    pub(super) const fn access(check: &'static str, object: &'static str, line: &'static str) -> Self {
        Self::new(check, object, Change::Access(line, &[]))
    }

    /// Sets the other checks that fail.
    pub(super) const fn and(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }
}
