//! The expected outcome of an attack, derived from `intent.toml` only.

use std::{collections::BTreeMap, fmt};

use super::{
    attack::Attack,
    caller::{A, B, Caller},
    intent::{Rights, Rows},
    relation::Relation,
};

/// The outcome of an attack: expected, or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// SQLSTATE 42501: a missing privilege, or a policy's WITH CHECK.
    Refused,
    /// The number of rows that were changed, or that were read where their person does not matter.
    Rows(u64),
    /// The number of rows that were read, of each person.
    Seen(BTreeMap<String, u64>),
    /// Another error: its SQLSTATE, or its message when it has none.
    Failed(String),
    /// Expected with claims that cannot be parsed: an error, or no row.
    Nothing,
    /// Expected of a person's second row where only one is possible: a unique violation, after privileges and policies.
    Collides,
}

impl Outcome {
    /// Returns `true` when rows were read or changed.
    pub(crate) fn reaches(&self) -> bool {
        match self {
            Self::Rows(rows) => *rows > 0,
            Self::Seen(seen) => !seen.is_empty(),
            _ => false,
        }
    }

    /// Returns `true` when this outcome matches the expected one.
    pub(crate) fn meets(&self, expected: &Self, relation: &Relation) -> bool {
        match (expected, self) {
            (Self::Nothing, Self::Refused | Self::Rows(0)) => true,
            (Self::Nothing, Self::Seen(seen)) => seen.is_empty(),
            (Self::Nothing, Self::Failed(code)) => code == "22P02",
            (Self::Collides, Self::Failed(code)) => code == "23505",
            // Some statements do not exist for views; Postgres reports that before it checks privileges
            // (wrong_object_type, feature_not_supported, invalid_column_reference).
            (Self::Refused, Self::Failed(code)) => {
                relation.is_view && ["42809", "0A000", "42P10"].contains(&code.as_str())
            }
            // Rows of a table without people have no person to compare.
            (Self::Seen(expected), Self::Seen(seen)) if !relation.owned => {
                expected.values().sum::<u64>() == seen.values().sum::<u64>()
            }
            (Self::Rows(rows), Self::Seen(seen)) => seen.values().sum::<u64>() == *rows,
            (expected, found) => expected == found,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => write!(f, "refused (42501)"),
            Self::Rows(rows) => write!(f, "{rows} rows"),
            Self::Seen(seen) => {
                let of = |person: &str| seen.get(person).copied().unwrap_or_default();
                write!(
                    f,
                    "{} rows of A, {} of B, {} in all",
                    of(A),
                    of(B),
                    seen.values().sum::<u64>()
                )
            }
            Self::Failed(code) => write!(f, "error {code}"),
            Self::Nothing => write!(f, "no row (42501, 22P02 or none)"),
            Self::Collides => write!(f, "error 23505"),
        }
    }
}

/// Returns the expected outcome of `attack` on `relation` for a role with `rights`, as `caller`.
pub(crate) fn expected(attack: &Attack, relation: &Relation, rights: &Rights, caller: Caller) -> Outcome {
    let reach = Reach { relation, caller };
    let Rights {
        select,
        insert,
        update,
        delete,
        ..
    } = *rights;
    let (oneself, other) = (&[caller.oneself()][..], &[caller.other()][..]);
    let both = &[caller.oneself(), caller.other()][..];
    let plain = Attack::updated_column(relation, rights);
    let reads = |column: &str| select.filter(|_| rights.may_select(column));
    let updates = |column: &str| update.filter(|_| rights.may_update(column));
    let person = relation.person.as_str();
    match attack {
        Attack::Select | Attack::CopyTo => reach.seen(&[reads(person)]),
        Attack::SelectColumn(column) => reach.rows(&[reads(column)], both),
        Attack::SelectWholeRow => {
            let whole = relation.columns.iter().all(|column| rights.may_select(column));
            reach.rows(&[select.filter(|_| whole)], both)
        }
        Attack::SelectForUpdate => reach.seen(&[reads(person), update]),

        // A statement with a condition reads the rows that it changes, so it also needs the right to select them.
        Attack::UpdateOneself => reach.rows(&[reads(person), updates(plain)], oneself),
        Attack::UpdateOther => reach.rows(&[reads(person), updates(plain)], other),
        Attack::UpdateAll => reach.rows(&[updates(plain)], both),
        Attack::UpdateColumn(column) => reach.rows(&[reads(person), updates(column)], oneself),
        Attack::Steal => reach.rows(&[reads(person), updates(person)], other),
        Attack::GiveAway => reach.given_away(&[reads(person), updates(person)], oneself),
        Attack::GiveAwayAll => reach.given_away(&[updates(person)], both),

        Attack::DeleteOneself => reach.rows(&[reads(person), delete], oneself),
        Attack::DeleteOther => reach.rows(&[reads(person), delete], other),
        Attack::DeleteAll => reach.rows(&[delete], both),
        // DELETE skips a row that it sees and may not delete; MERGE fails.
        Attack::MergeDeleteOther if delete == Some(Rows::Empty) && select == Some(Rows::All) => {
            Outcome::Refused
        }
        Attack::MergeDeleteOther => reach.rows(&[reads(person), delete], other),

        Attack::InsertAsOneself if relation.is_single() => reach.written(&[insert], Outcome::Collides),
        Attack::InsertAsOneself => reach.written(&[insert], Outcome::Rows(1)),
        Attack::OnConflictUpdateOneself => {
            reach.written(&[insert, reads(person), updates(plain)], Outcome::Rows(1))
        }
        Attack::InsertAsOther => reach.written(&[insert], Outcome::Refused),
        Attack::InsertAsOtherReturning => reach.written(&[insert, reads(person)], Outcome::Refused),
        Attack::OnConflictUpdateOther => {
            reach.written(&[insert, reads(person), updates(plain)], Outcome::Refused)
        }

        // Postgres lets a role lock a table if it may delete rows or update every column, which is a reason to grant
        // columns.
        Attack::Lock if delete.is_some() || (update.is_some() && rights.update_columns.is_none()) => {
            Outcome::Rows(0)
        }
        Attack::Lock | Attack::Forbidden(_) => Outcome::Refused,
    }
}

/// Returns the rows that a statement reaches that needs all of `rights`; `None` when one of them is missing.
fn narrowest(rights: &[Option<Rows>]) -> Option<Rows> {
    rights.iter().copied().min().flatten()
}

/// Computes the rows that rights reach for a caller.
struct Reach<'a> {
    relation: &'a Relation,
    caller: Caller,
}

impl Reach<'_> {
    /// Returns the number of the person's rows within `rows`.
    fn count(&self, rows: Rows, person: &str) -> u64 {
        match rows {
            Rows::All => self.relation.count(person),
            Rows::Own if self.caller.person() == Some(person) => self.relation.count(person),
            Rows::Leased => u64::from(self.caller == Caller::Leaseholder && person == B),
            Rows::Own | Rows::Empty => 0,
        }
    }

    /// Returns `true` when a policy reads claims that cannot be parsed, which is an error in any case.
    fn reads_malformed_claims(&self, rights: &[Option<Rows>]) -> bool {
        let reading = [Some(Rows::Own), Some(Rows::Leased)];
        self.caller.is_malformed()
            && narrowest(rights).is_some()
            && rights.iter().any(|rows| reading.contains(rows))
    }

    /// Returns the number of the rows of `people` within all of `rights`.
    fn rows(&self, rights: &[Option<Rows>], people: &[&str]) -> Outcome {
        match narrowest(rights) {
            None => Outcome::Refused,
            Some(_) if self.reads_malformed_claims(rights) => Outcome::Nothing,
            // The one row counts as that of both people.
            Some(rows) if self.relation.is_one_row() => Outcome::Rows(u64::from(rows == Rows::All)),
            Some(rows) => Outcome::Rows(people.iter().map(|person| self.count(rows, person)).sum()),
        }
    }

    /// Returns the number of rows within all of `rights`, of each person.
    fn seen(&self, rights: &[Option<Rows>]) -> Outcome {
        match narrowest(rights) {
            None => Outcome::Refused,
            Some(_) if self.reads_malformed_claims(rights) => Outcome::Nothing,
            Some(rows) => {
                let counts = [A, B].map(|person| (person.to_owned(), self.count(rows, person)));
                Outcome::Seen(counts.into_iter().filter(|(_, count)| *count > 0).collect())
            }
        }
    }

    /// Returns the outcome of changing the person of a row: the caller's own row is found and its new value refused;
    /// when no row is found, nothing is refused.
    fn given_away(&self, rights: &[Option<Rows>], people: &[&str]) -> Outcome {
        match narrowest(rights) {
            Some(Rows::Own) if self.caller.person().is_some() => Outcome::Refused,
            _ => self.rows(rights, people),
        }
    }

    /// Returns `outcome` when the caller may write its own row, and a refusal otherwise.
    fn written(&self, rights: &[Option<Rows>], outcome: Outcome) -> Outcome {
        match narrowest(rights) {
            Some(Rows::Own | Rows::All) if self.caller.person().is_some() => outcome,
            Some(_) if self.reads_malformed_claims(rights) => Outcome::Nothing,
            _ => Outcome::Refused,
        }
    }
}
