//! What has to come of an attack, by the intent alone.

use std::{collections::BTreeMap, fmt};

use super::{
    attack::Attack,
    caller::{A, B, Caller},
    intent::{Rights, Rows},
    relation::Relation,
};

/// What an attack has to come to, or came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// SQLSTATE 42501: a missing privilege, or a policy's WITH CHECK.
    Refused,
    /// So many rows were changed, or read where it does not matter whose.
    Rows(u64),
    /// Rows were read: how many of each person.
    Seen(BTreeMap<String, u64>),
    /// Another error: its SQLSTATE, or what is wrong where there is none.
    Failed(String),
    /// What is expected of claims that cannot be read: any error, or no row.
    Nothing,
    /// What is expected of a person's second row where there can be only one: past the wall, and in conflict.
    Collides,
}

impl Outcome {
    /// Whether rows were read or changed.
    pub(crate) fn reaches(&self) -> bool {
        match self {
            Self::Rows(rows) => *rows > 0,
            Self::Seen(seen) => !seen.is_empty(),
            _ => false,
        }
    }

    /// Whether this is what was expected.
    pub(crate) fn meets(&self, expected: &Self, relation: &Relation) -> bool {
        match (expected, self) {
            (Self::Nothing, Self::Refused | Self::Rows(0)) => true,
            (Self::Nothing, Self::Seen(seen)) => seen.is_empty(),
            (Self::Nothing, Self::Failed(code)) => code == "22P02",
            (Self::Collides, Self::Failed(code)) => code == "23505",
            // Some of what can be done to a table is no statement at all for a view; Postgres says so before
            // it looks at privileges (wrong_object_type, feature_not_supported, invalid_column_reference).
            (Self::Refused, Self::Failed(code)) => {
                relation.is_view && ["42809", "0A000", "42P10"].contains(&code.as_str())
            }
            // Nobody's rows do not say whose they are.
            (Self::Seen(meant), Self::Seen(seen)) if !relation.owned => {
                meant.values().sum::<u64>() == seen.values().sum::<u64>()
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

/// What `attack` on `relation` has to come to for a role with `rights`, as `caller`.
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

        // A statement with a condition reads what it changes, and is bound by the right to select as well.
        Attack::UpdateOneself => reach.rows(&[reads(person), updates(plain)], oneself),
        Attack::UpdateOther => reach.rows(&[reads(person), updates(plain)], other),
        Attack::UpdateEverybody => reach.rows(&[updates(plain)], both),
        Attack::UpdateColumn(column) => reach.rows(&[reads(person), updates(column)], oneself),
        Attack::Steal => reach.rows(&[reads(person), updates(person)], other),
        Attack::GiveAway => reach.given_away(&[reads(person), updates(person)], oneself),
        Attack::GiveAwayEverything => reach.given_away(&[updates(person)], both),

        Attack::DeleteOneself => reach.rows(&[reads(person), delete], oneself),
        Attack::DeleteOther => reach.rows(&[reads(person), delete], other),
        Attack::DeleteEverybody => reach.rows(&[delete], both),
        // MERGE does not pass over a row that it sees and may not delete, as DELETE does: it fails.
        Attack::MergeDeleteOther if delete == Some(Rows::Nobody) && select == Some(Rows::All) => {
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

        // Postgres lets whoever may delete, or update every column, lock the table: a reason to grant
        // columns.
        Attack::Lock if delete.is_some() || (update.is_some() && rights.update_columns.is_none()) => {
            Outcome::Rows(0)
        }
        Attack::Lock | Attack::Forbidden(_) => Outcome::Refused,
    }
}

/// Which rows a statement reaches that needs several rights: none of them means that it is not allowed at
/// all.
fn narrowest(rights: &[Option<Rows>]) -> Option<Rows> {
    rights.iter().copied().min().flatten()
}

/// Which rows rights reach for a caller.
struct Reach<'a> {
    relation: &'a Relation,
    caller: Caller,
}

impl Reach<'_> {
    fn count(&self, rows: Rows, person: &str) -> u64 {
        match rows {
            Rows::All => self.relation.count(person),
            Rows::Own if self.caller.person() == Some(person) => self.relation.count(person),
            Rows::Leased => u64::from(self.caller == Caller::Leaseholder && person == B),
            Rows::Own | Rows::Nobody => 0,
        }
    }

    /// Claims that cannot be read are an error as soon as a policy asks for the caller, whatever else it
    /// would have said.
    fn asks_malformed(&self, rights: &[Option<Rows>]) -> bool {
        let asks = [Some(Rows::Own), Some(Rows::Leased)];
        self.caller.is_malformed()
            && narrowest(rights).is_some()
            && rights.iter().any(|rows| asks.contains(rows))
    }

    /// The rows of `people` within all of `rights`.
    fn rows(&self, rights: &[Option<Rows>], people: &[&str]) -> Outcome {
        match narrowest(rights) {
            None => Outcome::Refused,
            Some(_) if self.asks_malformed(rights) => Outcome::Nothing,
            // It plays both people.
            Some(rows) if self.relation.is_one_row() => Outcome::Rows(u64::from(rows == Rows::All)),
            Some(rows) => Outcome::Rows(people.iter().map(|person| self.count(rows, person)).sum()),
        }
    }

    /// What is read within all of `rights`, and whose it is.
    fn seen(&self, rights: &[Option<Rows>]) -> Outcome {
        match narrowest(rights) {
            None => Outcome::Refused,
            Some(_) if self.asks_malformed(rights) => Outcome::Nothing,
            Some(rows) => {
                let counts = [A, B].map(|person| (person.to_owned(), self.count(rows, person)));
                Outcome::Seen(counts.into_iter().filter(|(_, count)| *count > 0).collect())
            }
        }
    }

    /// A caller's own row is found, and refused for what it would become; where none is found, none is
    /// refused.
    fn given_away(&self, rights: &[Option<Rows>], people: &[&str]) -> Outcome {
        match narrowest(rights) {
            Some(Rows::Own) if self.caller.person().is_some() => Outcome::Refused,
            _ => self.rows(rights, people),
        }
    }

    /// `outcome` where the caller may write its own row, and a refusal otherwise.
    fn written(&self, rights: &[Option<Rows>], outcome: Outcome) -> Outcome {
        match narrowest(rights) {
            Some(Rows::Own | Rows::All) if self.caller.person().is_some() => outcome,
            Some(_) if self.asks_malformed(rights) => Outcome::Nothing,
            _ => Outcome::Refused,
        }
    }
}
