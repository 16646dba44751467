//! The result of a verification.

use std::{collections::BTreeMap, fmt, time::SystemTime};

use haven_testkit::{database::Database, endpoints::Endpoints};

use super::{
    expectation::Expectation,
    findings::Findings,
    journal::{Call, Journal, Outcome, Reads},
    orphans::{DELIVERY, find_orphans},
    rows::Rows,
    stored::Stored,
};

/// Refusals that are no defect: the RPC, or `*` for each, and the reason.
const EXPECTED_REFUSALS: [(&str, &str); 9] = [
    ("RequestAnalysis", "NOTHING_TO_ANALYZE"),
    // The lease expired during an outage, or the person was erased.
    ("CompleteJob", "LEASE_LOST"),
    ("FailJob", "LEASE_LOST"),
    ("ExtendLease", "LEASE_LOST"),
    // Another worker requeued the job first, or the person was erased.
    ("RequeueJob", "NOT_FOUND"),
    ("RequeueJob", "VERSION_CONFLICT"),
    // After a restore or a failover, a device starts over.
    ("*", "CURSOR_EXPIRED"),
    // In a long outage.
    ("*", "TOKEN_EXPIRED"),
    // RefreshSession took effect, and its answer was lost for longer than the retries may take.
    ("RefreshSession", "SESSION_REVOKED"),
];

/// The counts of a workload, and what is wrong.
#[derive(Debug)]
pub(crate) struct Report {
    /// The number of mutations that were called.
    pub(crate) calls: usize,
    /// The number of mutations that the services acknowledged.
    pub(crate) acknowledged: usize,
    /// The number of mutations that needed more than one attempt.
    pub(crate) retried: usize,
    /// The number of mutations by RPC and reason for which the services refused them.
    pub(crate) refused: BTreeMap<(&'static str, String), usize>,
    /// The number of mutations by RPC and failure of which the outcome is unknown.
    pub(crate) unknown: BTreeMap<(&'static str, String), usize>,
    /// The number of people who signed up.
    pub(crate) people: usize,
    pub(crate) reads: Reads,
    pub(crate) findings: Findings,
}

// === impl Journal ===

impl Journal {
    /// Compares the journal with what is stored in `database`, through the services at `endpoints` and as a superuser. With
    /// `as_of`, the database was restored to that time. See the documentation of [`super`].
    ///
    /// Panics when the services do not answer.
    pub(crate) async fn verify(
        &self,
        endpoints: &Endpoints,
        database: &Database,
        as_of: Option<SystemTime>,
    ) -> Report {
        let mut findings = Findings {
            orphans: find_orphans(database, DELIVERY).await,
            ..Findings::default()
        };
        let calls = self.calls().clone();
        let expectation = Expectation::new(&calls, as_of);
        // Before the verification signs people in.
        let rows = Rows::read(database).await;
        rows.compare(&calls, &self.verifications(), as_of, &mut findings);
        let stored = Stored::read(self, endpoints, &rows, &expectation, &mut findings).await;
        expectation.compare(&stored, &mut findings);
        Report::new(&calls, self.reads().clone(), findings)
    }
}

// === impl Report ===

impl Report {
    fn new(calls: &[Call], reads: Reads, mut findings: Findings) -> Self {
        let (mut refused, mut unknown) = (BTreeMap::new(), BTreeMap::new());
        for call in calls {
            match &call.outcome {
                Outcome::Refused(reason) => {
                    *refused.entry((call.rpc, reason.clone())).or_default() += 1;
                }
                Outcome::Unknown(failure) => {
                    *unknown.entry((call.rpc, failure.clone())).or_default() += 1;
                }
                Outcome::Open | Outcome::Acknowledged(_) => {}
            }
        }
        findings.foreign.extend(reads.foreign.iter().cloned());
        let people = calls
            .iter()
            .filter(|call| call.rpc == "SignUp" && call.acknowledged().is_some());
        Self {
            calls: calls.len(),
            acknowledged: calls.iter().filter(|call| call.acknowledged().is_some()).count(),
            retried: calls.iter().filter(|call| call.attempts > 1).count(),
            refused,
            unknown,
            people: people.count(),
            reads,
            findings,
        }
    }

    /// Returns the refusals that are a defect.
    pub(crate) fn unexpected_refusals(&self) -> Vec<String> {
        let unexpected = self.refused.iter().filter(|((rpc, reason), _)| {
            let mut expected = EXPECTED_REFUSALS.iter();
            !expected.any(|(of, why)| (*of == "*" || of == rpc) && why == reason)
        });
        unexpected
            .map(|((rpc, reason), count)| format!("{rpc} was refused {count} times: {reason}"))
            .collect()
    }

    /// Returns the number of mutations of which the outcome is unknown.
    pub(crate) fn unknown(&self) -> usize {
        self.unknown.values().sum()
    }

    /// Panics with the report when an acknowledged call is lost, or a call was applied twice, or something else is wrong.
    /// Calls of unknown outcome are no defect here.
    pub(crate) fn assert_sound(&self) {
        let Findings {
            lost,
            doubled,
            foreign,
            later,
            orphans,
        } = &self.findings;
        let refusals = self.unexpected_refusals();
        let problems: [&[String]; 7] = [
            lost,
            doubled,
            foreign,
            later,
            orphans,
            &refusals,
            &self.reads.stale,
        ];
        assert!(problems.iter().all(|list| list.is_empty()), "{self}");
    }

    /// Panics when any call failed after its retries.
    pub(crate) fn assert_no_failure(&self) {
        assert!(self.unknown.is_empty() && self.reads.failed.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings {
            lost,
            doubled,
            foreign,
            later,
            orphans,
        } = &self.findings;
        writeln!(
            formatter,
            "{} mutations of {} people: {} acknowledged, {} retried, {} unknown, {} lost, {} doubled, {} orphans; {} reads, {} foreign",
            self.calls,
            self.people,
            self.acknowledged,
            self.retried,
            self.unknown(),
            lost.len(),
            doubled.len(),
            orphans.len(),
            self.reads.done,
            foreign.len(),
        )?;
        for ((rpc, reason), count) in self.refused.iter().chain(&self.unknown) {
            writeln!(formatter, "  {rpc}: {count} times {reason}")?;
        }
        for (failure, count) in &self.reads.failed {
            writeln!(formatter, "  reads: {count} times {failure}")?;
        }
        let stale = &self.reads.stale;
        for (name, list) in [
            ("lost", lost),
            ("doubled", doubled),
            ("foreign", foreign),
            ("later", later),
            ("orphan", orphans),
            ("stale", stale),
            ("unexpected", &self.unexpected_refusals()),
        ] {
            for entry in list.iter().take(10) {
                writeln!(formatter, "  {name}: {entry}")?;
            }
        }
        Ok(())
    }
}
