//! The comparison of all people of both services, in the order of their ids, with the memory of a few pages.
//!
//! Each service is read in transactions of its own, while people may sign up and be erased. So a difference counts only when
//! a second look finds it too, in an order that rules out every change in between: this service, then data, then this service
//! again. An account is stored here before data knows its person, and an erasure before data has the tombstone. A person in
//! data who has neither in the last look therefore had neither when data was read.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use haven_platform::database::DbError;
use thiserror::Error;
use uuid::Uuid;

use super::data_people::{DataError, DataPeople, PAGE_SIZE};
use crate::{
    domain::reconciliation::{Difference, Here, There, ThereState, Verdict, compare},
    store::reconciliation::Reconciliation,
};

/// Both services, and the time before which a person in data must have been provisioned to be judged.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    pub(super) here: &'a Reconciliation,
    pub(super) there: &'a DataPeople,
    pub(super) judged_before: DateTime<Utc>,
}

/// The numbers of people that were compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// The people with an account or a receipt in this service.
    pub(super) here: u64,
    /// The people that data has, without those that it erased.
    pub(super) there: u64,
    /// The people that both services agree about.
    pub(super) agreeing: u64,
    /// The people that a message in the outbox is about.
    pub(super) waiting: u64,
    /// The people in data who were provisioned too recently to be judged.
    pub(super) too_new: u64,
}

/// The reason why the comparison was not completed.
#[derive(Debug, Error)]
pub(super) enum ComparisonError {
    /// This service's database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// Data failed.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// The receiver of what a comparison finds.
pub(super) trait Findings {
    /// The reason why the comparison must stop.
    type Error: From<ComparisonError>;

    /// Takes some people who differ. Called with at least one and at most [`PAGE_SIZE`] people.
    async fn take(&mut self, found: &[(Uuid, Difference)]) -> Result<(), Self::Error>;

    /// Takes the numbers so far.
    fn progress(&mut self, compared: &Compared) -> Result<(), Self::Error>;
}

// === impl Comparison ===

impl Comparison<'_> {
    /// Compares all people, and gives those who differ to `findings`.
    pub(super) async fn run<F: Findings>(&self, findings: &mut F) -> Result<Compared, F::Error> {
        let mut compared = Compared::default();
        let mut ours = OurPeople::new(self.here);
        let mut theirs = TheirPeople::new(self.there);
        let mut suspects = Vec::with_capacity(PAGE_SIZE);
        let mut steps = 0_usize;
        loop {
            let (here, there) = (ours.peek().await?, theirs.peek().await?);
            let Some(id) = here
                .map(|here| here.id)
                .into_iter()
                .chain(there.map(|there| there.id))
                .min()
            else {
                break;
            };
            let here = here.filter(|here| here.id == id);
            let there = there.filter(|there| there.id == id);
            if here.is_some() {
                ours.page.pop_front();
                compared.here += 1;
            }
            if let Some(there) = there {
                theirs.page.pop_front();
                compared.there += u64::from(!matches!(there.state, ThereState::Erased(_)));
            }
            match compare(here, there.map(|there| there.state), self.judged_before) {
                Verdict::Agrees => compared.agreeing += 1,
                _ => suspects.push(id),
            }
            if suspects.len() == PAGE_SIZE {
                self.look_again(&mut suspects, &mut compared, findings).await?;
            }
            steps += 1;
            if steps.is_multiple_of(PAGE_SIZE) {
                findings.progress(&compared)?;
            }
        }
        self.look_again(&mut suspects, &mut compared, findings).await?;
        findings.progress(&compared)?;
        Ok(compared)
    }

    /// Judges the `suspects` by a second look, and forgets them.
    async fn look_again<F: Findings>(
        &self,
        suspects: &mut Vec<Uuid>,
        compared: &mut Compared,
        findings: &mut F,
    ) -> Result<(), F::Error> {
        if suspects.is_empty() {
            return Ok(());
        }
        let before = self.find_here(suspects).await?;
        let there = self.there.find(suspects).await.map_err(ComparisonError::from)?;
        let there: HashMap<_, _> = there.into_iter().map(|there| (there.id, there.state)).collect();
        let after = self.find_here(suspects).await?;
        let mut found = Vec::new();
        for id in suspects.drain(..) {
            let there = there.get(&id).copied();
            let first = compare(before.get(&id).copied(), there, self.judged_before);
            let second = compare(after.get(&id).copied(), there, self.judged_before);
            match (first, second) {
                (Verdict::Agrees, _) | (_, Verdict::Agrees) => compared.agreeing += 1,
                (Verdict::Differs(difference), Verdict::Differs(again)) if difference == again => {
                    found.push((id, difference));
                }
                (Verdict::TooNew, Verdict::TooNew) => compared.too_new += 1,
                // The person was changed between the looks: a message is on its way, or was.
                _ => compared.waiting += 1,
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        findings.take(&found).await
    }

    async fn find_here(&self, people: &[Uuid]) -> Result<HashMap<Uuid, Here>, ComparisonError> {
        let people = self.here.find(people).await?;
        Ok(people.into_iter().map(|here| (here.id, here)).collect())
    }
}

/// The people of this service in the order of their ids, of which one page is held.
struct OurPeople<'a> {
    store: &'a Reconciliation,
    page: VecDeque<Here>,
    /// The id after which the next page begins. `None` when there is no further page.
    after: Option<Uuid>,
}

impl<'a> OurPeople<'a> {
    fn new(store: &'a Reconciliation) -> Self {
        Self {
            store,
            page: VecDeque::new(),
            after: Some(Uuid::nil()),
        }
    }

    async fn peek(&mut self) -> Result<Option<Here>, ComparisonError> {
        if let (true, Some(after)) = (self.page.is_empty(), self.after) {
            self.page = self.store.page(after).await?.into();
            self.after = self.page.back().map(|last| last.id);
        }
        Ok(self.page.front().copied())
    }
}

/// The people of data in the order of their ids, of which one page is held.
struct TheirPeople<'a> {
    data: &'a DataPeople,
    page: VecDeque<There>,
    /// The token of the next page. `None` when there is no further page.
    next: Option<String>,
}

impl<'a> TheirPeople<'a> {
    fn new(data: &'a DataPeople) -> Self {
        Self {
            data,
            page: VecDeque::new(),
            next: Some(String::new()),
        }
    }

    async fn peek(&mut self) -> Result<Option<There>, ComparisonError> {
        while self.page.is_empty() {
            let Some(token) = self.next.take() else {
                return Ok(None);
            };
            let page = self.data.page(&token).await?;
            (self.page, self.next) = (page.people.into(), page.next);
        }
        Ok(self.page.front().copied())
    }
}
