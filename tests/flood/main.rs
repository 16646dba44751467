//! More sign-ins at once than there are cores for: some are let in, the others turned away, and nobody else notices.

use std::{
    cell::Cell,
    fs,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use haven_proto::identity::v1::{GetAccountRequest, SignInRequest};
use haven_testkit::{Client, Person, Stack, random};
use tokio::time::{interval, sleep};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// How many sign-ins come at once, and how long each may take.
const SIGN_INS: usize = 500;
const DEADLINE: Duration = Duration::from_secs(2);
/// What becomes of one that was let in and was not done in time.
const LATE: &str = "late";
/// On how many connections they come.
const CONNECTIONS: usize = 10;
/// What five hundred calls take, in KiB: their buffers and futures, in a build that is not optimised. It is far less than
/// what three hashes take; those that can run at once have their memory already.
const CALLS_KIB: u64 = 48 * 1024;

/// What a flood came to.
#[derive(Debug)]
struct Flood {
    let_in: usize,
    late: usize,
    /// How long each refusal took, the shortest first.
    refused: Vec<Duration>,
    reads: usize,
    slowest_read: Duration,
    before_kib: u64,
    peak_kib: u64,
}

/// How often there is a flood, at most: when something else takes the cores, not even what was let in is done in time. What
/// must hold of memory and of reasons holds each time.
const FLOODS: usize = 4;

#[tokio::test]
async fn a_flood_of_sign_ins_is_let_in_as_far_as_it_can_be_and_disturbs_nobody_else() {
    let stack = Stack::start().await.unwrap();
    let people = join_all((0..CONNECTIONS).map(|_| stack.person())).await;
    let people: Vec<Person> = people.into_iter().map(Result::unwrap).collect();
    let mut floods = Vec::new();
    while floods.len() < FLOODS {
        let flood = flood(&stack, &people).await;
        eprintln!(
            "{} let in, {} late, {} refused; {} reads, the slowest {:?}; {} KiB, at most {}",
            flood.let_in,
            flood.late,
            flood.refused.len(),
            flood.reads,
            flood.slowest_read,
            flood.before_kib,
            flood.peak_kib
        );
        assert!(flood.peak_kib <= flood.before_kib + CALLS_KIB, "{flood:?}");
        let half = flood.refused.get(flood.refused.len() / 2).copied();
        let orderly = flood.let_in > 0
            // Whoever was let in is mostly done in time: what is kept for the rest of a call is enough of it.
            && flood.late * 10 <= flood.let_in
            && half.is_some_and(|half| half < DEADLINE / 2)
            && flood.refused.iter().all(|took| *took < DEADLINE)
            && flood.reads >= 5;
        if orderly {
            return;
        }
        floods.push(flood);
    }
    panic!("not once orderly: {floods:#?}");
}

async fn flood(stack: &Stack, people: &[Person]) -> Flood {
    let other = stack.user(&people[0]).unwrap();
    let pid = stack.identity.pid().unwrap();
    let before_kib = resident_kib(pid);
    let clients: Vec<Client> = people.iter().map(|_| stack.anonymous().unwrap()).collect();
    let sign_ins = join_all((0..SIGN_INS).map(|number| {
        let number = number % CONNECTIONS;
        sign_in(&clients[number], &people[number])
    }));
    let (peak, reads, slowest) = (Cell::new(0), Cell::new(0), Cell::new(Duration::ZERO));
    let watch = async {
        let mut ticks = interval(Duration::from_millis(5));
        loop {
            ticks.tick().await;
            peak.set(resident_kib(pid).max(peak.get()));
        }
    };
    let read = async {
        loop {
            let began = Instant::now();
            let answer = other.account().get_account(GetAccountRequest::default()).await;
            answer.unwrap_or_else(|status| panic!("GetAccount meanwhile: {status:?}"));
            slowest.set(slowest.get().max(began.elapsed()));
            reads.set(reads.get() + 1);
            sleep(Duration::from_millis(5)).await;
        }
    };
    let outcomes = tokio::select! {
        outcomes = sign_ins => outcomes,
        () = watch => unreachable!("it watches for ever"),
        () = read => unreachable!("it reads for ever"),
    };
    let count = |kind: &str| outcomes.iter().filter(|(outcome, _)| outcome == kind).count();
    let (let_in, late) = (count("OK"), count(LATE));
    assert_eq!(
        let_in + late + count("OVERLOADED"),
        SIGN_INS,
        "all others are OVERLOADED: {outcomes:?}"
    );
    let refused = outcomes.iter().filter(|(outcome, _)| outcome == "OVERLOADED");
    let mut refused: Vec<Duration> = refused.map(|(_, took)| *took).collect();
    refused.sort_unstable();
    Flood {
        let_in,
        late,
        refused,
        reads: reads.get(),
        slowest_read: slowest.get(),
        before_kib,
        peak_kib: peak.get(),
    }
}

/// What came of it, and how long that took.
async fn sign_in(client: &Client, person: &Person) -> (String, Duration) {
    let mut request = Request::new(SignInRequest {
        email: person.email.clone(),
        password: person.password.clone(),
        request_id: random::uuid().to_string(),
    });
    request.set_timeout(DEADLINE);
    let began = Instant::now();
    let outcome = match client.session().sign_in(request).await {
        Ok(_) => "OK".to_owned(),
        // The client's own clock, or the server's: whichever is first.
        Err(status) if matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) => LATE.to_owned(),
        Err(status) => retryable(&status),
    };
    (outcome, began.elapsed())
}

/// The reason of a failure that tells its caller to try again; panics when it does not.
fn retryable(status: &Status) -> String {
    let details = status.get_error_details();
    let delay = details.retry_info().and_then(|retry| retry.retry_delay);
    assert!(delay.is_some_and(|delay| !delay.is_zero()), "{status:?}");
    details
        .error_info()
        .unwrap_or_else(|| panic!("{status:?}"))
        .reason
        .clone()
}

/// What is in memory of a process.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
