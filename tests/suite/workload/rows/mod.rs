//! The rows that a superuser sees: requests, sessions, jobs and message numbers, which tell whether a call was applied twice.

mod requests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use haven_testkit::database::Database;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, postgres::PgRow};
use uuid::Uuid;

use super::{
    email,
    expectation::is_before,
    findings::Findings,
    journal::{Call, Fact, Outcome},
};

/// Rows of both schemas.
pub(super) struct Rows {
    /// The email addresses of accounts by id.
    pub(super) emails: BTreeMap<Uuid, String>,
    /// The ids of accounts by the email address at sign-up.
    pub(super) accounts: BTreeMap<String, Uuid>,
    /// The ids of people in data.
    pub(super) people: BTreeSet<Uuid>,
    /// The ids of erased people that have a receipt in both schemas.
    pub(super) erased: BTreeSet<Uuid>,
    /// Person, request id and method.
    requests: Vec<(Uuid, Uuid, String)>,
    /// Person and session.
    sessions: BTreeSet<(Uuid, Uuid)>,
    /// Whether the person requested a job, by person and job.
    jobs: BTreeMap<(Uuid, Uuid), bool>,
    /// The number of the newest message by person.
    numbers: BTreeMap<Uuid, i64>,
}

/// What the calls of one person tell about rows.
#[derive(Default)]
struct Person<'a> {
    id: Option<Uuid>,
    calls: Vec<&'a Call>,
}

// === impl Rows ===

impl Rows {
    pub(super) async fn read(database: &Database) -> Self {
        let connection = &mut database.connect("postgres").await.unwrap();
        Self {
            emails: all::<(Uuid, String)>(connection, "SELECT id, email FROM identity.users")
                .await
                .into_iter()
                .collect(),
            accounts: all::<(String, Uuid)>(
                connection,
                "SELECT replace(email, 'moved.', ''), id FROM identity.users",
            )
            .await
            .into_iter()
            .collect(),
            people: all::<(Uuid,)>(connection, "SELECT id FROM data.users")
                .await
                .into_iter()
                .map(|(id,)| id)
                .collect(),
            erased: all::<(Uuid,)>(
                connection,
                "SELECT user_id FROM identity.erasures JOIN data.tombstones USING (user_id)",
            )
            .await
            .into_iter()
            .map(|(id,)| id)
            .collect(),
            requests: all(
                connection,
                "SELECT user_id, id, method FROM identity.requests UNION ALL
                 SELECT user_id, id, method FROM data.requests",
            )
            .await,
            sessions: all::<(Uuid, Uuid)>(connection, "SELECT user_id, id FROM identity.sessions")
                .await
                .into_iter()
                .collect(),
            jobs: all::<(Uuid, Uuid, bool)>(
                connection,
                "SELECT user_id, id, requested FROM data.analysis_jobs",
            )
            .await
            .into_iter()
            .map(|(user, job, requested)| ((user, job), requested))
            .collect(),
            numbers: all::<(Uuid, i64)>(
                connection,
                "SELECT user_id, last_number FROM data.conversation_counters",
            )
            .await
            .into_iter()
            .collect(),
        }
    }

    /// Compares the rows with the calls. `verifications` has the request ids of earlier verifications.
    pub(super) fn compare(
        &self,
        calls: &[Call],
        verifications: &BTreeSet<Uuid>,
        as_of: Option<SystemTime>,
        findings: &mut Findings,
    ) {
        let people = self.by_name(calls);
        let by_id: BTreeMap<Uuid, Uuid> = people
            .iter()
            .filter_map(|(name, person)| Some((person.id?, *name)))
            .collect();
        self.compare_requests(&people, &by_id, calls, verifications, as_of, findings);
        for (name, person) in &people {
            // An erased person has no rows.
            let Some(id) = self.accounts.get(&email(*name)).copied() else {
                continue;
            };
            self.compare_sessions(*name, id, person, verifications, as_of, findings);
            self.compare_jobs(*name, id, person, as_of, findings);
            self.compare_numbers(*name, id, person, as_of, findings);
        }
        compare_leases(calls, findings);
    }

    /// Returns the ids of people by name, as far as an answer or an account tells.
    pub(super) fn ids(&self, calls: &[Call]) -> BTreeMap<Uuid, Uuid> {
        let people = self.by_name(calls).into_iter();
        people
            .filter_map(|(name, person)| Some((name, person.id?)))
            .collect()
    }

    /// Returns the calls for each person of this workload, by name.
    fn by_name<'a>(&self, calls: &'a [Call]) -> BTreeMap<Uuid, Person<'a>> {
        let mut people = BTreeMap::<Uuid, Person<'a>>::new();
        for call in calls {
            let person = people.entry(call.person).or_default();
            person.calls.push(call);
            for fact in &call.facts {
                if let Fact::UserId(id) = fact {
                    person.id = Some(*id);
                }
            }
        }
        // Workers also finish jobs of people that an earlier workload left.
        people.retain(|_, person| person.calls.iter().any(|call| call.rpc == "SignUp"));
        for (name, person) in &mut people {
            person.id = person.id.or_else(|| self.accounts.get(&email(*name)).copied());
        }
        people
    }

    /// Each acknowledged sign-in has one session, and there are no more others than sign-ins of unknown outcome.
    fn compare_sessions(
        &self,
        name: Uuid,
        id: Uuid,
        person: &Person<'_>,
        verifications: &BTreeSet<Uuid>,
        as_of: Option<SystemTime>,
        findings: &mut Findings,
    ) {
        let mut known = BTreeSet::new();
        let mut unknown = 0;
        for call in person.calls.iter().filter(|call| call.rpc == "SignIn") {
            let session = call.facts.iter().find_map(|fact| match fact {
                Fact::Session(session) => Some(*session),
                _ => None,
            });
            match session {
                Some(session) => {
                    known.insert(session);
                    let stored = self.sessions.contains(&(id, session));
                    if is_before(call.acknowledged(), as_of) && !stored {
                        findings
                            .lost
                            .push(format!("session {session} of {name} has no row"));
                    }
                    if !is_before(Some(call.asked), as_of) && stored {
                        findings.later.push(format!("session {session} of {name}"));
                    }
                }
                None => unknown += usize::from(!matches!(call.outcome, Outcome::Refused(_))),
            }
        }
        let sessions = self.sessions.iter().filter(|(user, _)| *user == id);
        let others = sessions
            .filter(|(_, session)| !known.contains(session) && !verifications.contains(session))
            .count();
        if others > unknown {
            let what = format!("{others} sessions of {name} beside those of {unknown} unanswered sign-ins");
            findings.doubled.push(what);
        }
    }

    /// Each requested job that was acknowledged is there, and there are no more others than requests of unknown outcome.
    fn compare_jobs(
        &self,
        name: Uuid,
        id: Uuid,
        person: &Person<'_>,
        as_of: Option<SystemTime>,
        findings: &mut Findings,
    ) {
        let mut known = BTreeSet::new();
        let mut unknown = 0;
        for call in person.calls.iter().filter(|call| call.rpc == "RequestAnalysis") {
            for fact in &call.facts {
                let Fact::Job(job) = fact else { continue };
                known.insert(*job);
                if is_before(call.acknowledged(), as_of) && !self.jobs.contains_key(&(id, *job)) {
                    findings.lost.push(format!("job {job} of {name} has no row"));
                }
            }
            unknown += usize::from(matches!(call.outcome, Outcome::Unknown(_) | Outcome::Open));
        }
        let requested = self
            .jobs
            .iter()
            .filter(|((user, _), requested)| *user == id && **requested);
        let others = requested.filter(|((_, job), _)| !known.contains(job)).count();
        if others > unknown {
            let what = format!("{others} requested jobs of {name} beside {unknown} unanswered requests");
            findings.doubled.push(what);
        }
    }

    /// The newest message has the number of messages that were appended.
    fn compare_numbers(
        &self,
        name: Uuid,
        id: Uuid,
        person: &Person<'_>,
        as_of: Option<SystemTime>,
        findings: &mut Findings,
    ) {
        let appended = person.calls.iter().filter(|call| call.rpc == "AppendMessage");
        let (mut least, mut most) = (0, 0);
        for call in appended.filter(|call| !matches!(call.outcome, Outcome::Refused(_))) {
            least += i64::from(is_before(call.acknowledged(), as_of));
            most += i64::from(is_before(Some(call.asked), as_of));
        }
        let number = self.numbers.get(&id).copied().unwrap_or_default();
        let what = format!("the newest message of {name} has number {number}, after {least} to {most} calls");
        if number < least {
            findings.lost.push(what);
        } else if number > most {
            findings.doubled.push(what);
        }
    }
}

/// No two LeaseJobs got the same lease.
fn compare_leases(calls: &[Call], findings: &mut Findings) {
    let mut leases = BTreeMap::new();
    for call in calls {
        for fact in &call.facts {
            if let Fact::Lease(job, token) = fact
                && let Some(other) = leases.insert((job, token), call.request_id)
            {
                let what = format!("job {job} was leased by {other:?} and by {:?}", call.request_id);
                findings.doubled.push(what);
            }
        }
    }
}

async fn all<T>(connection: &mut PgConnection, sql: &str) -> Vec<T>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await;
    rows.unwrap()
}
