//! A load test with more concurrent sign-ins than the cores can hash: the service admits some, rejects the others, and
//! other calls are not affected.

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

/// The number of concurrent sign-ins.
const SIGN_INS: usize = 500;
/// The deadline of each sign-in.
const DEADLINE: Duration = Duration::from_secs(2);
/// The outcome of a sign-in that was admitted and missed its deadline.
const LATE: &str = "late";
/// The number of connections that the sign-ins share.
const CONNECTIONS: usize = 10;
/// The memory of 500 calls in KiB: their buffers and futures in a debug build. It is less than the memory of three
/// hashes. The hashes that can run concurrently have their memory from the start.
const CALLS_KIB: u64 = 48 * 1024;

/// The results of one flood of sign-ins.
#[derive(Debug)]
struct Flood {
    /// The number of sign-ins that succeeded.
    admitted: usize,
    /// The number of sign-ins that were admitted and missed their deadline.
    late: usize,
    /// The duration of each rejected sign-in, in ascending order.
    rejected: Vec<Duration>,
    /// The number of GetAccount calls during the flood.
    reads: usize,
    /// The duration of the slowest GetAccount call.
    slowest_read: Duration,
    /// The resident memory of the service before the flood.
    before_kib: u64,
    /// The maximum resident memory of the service during the flood.
    peak_kib: u64,
}

/// The maximum number of floods. If other programs use the cores, even the admitted sign-ins miss their deadlines, and
/// the flood is repeated. The assertions about memory and reasons apply to each flood.
const FLOODS: usize = 4;

#[tokio::test]
async fn excess_sign_ins_are_rejected_early_and_other_calls_are_not_affected() {
    let stack = Stack::start().await.unwrap();
    let people = join_all((0..CONNECTIONS).map(|_| stack.person())).await;
    let people: Vec<Person> = people.into_iter().map(Result::unwrap).collect();
    let mut floods = Vec::new();
    while floods.len() < FLOODS {
        let flood = flood(&stack, &people).await;
        eprintln!(
            "{} admitted, {} late, {} rejected; {} reads, the slowest {:?}; {} KiB before, {} KiB at most",
            flood.admitted,
            flood.late,
            flood.rejected.len(),
            flood.reads,
            flood.slowest_read,
            flood.before_kib,
            flood.peak_kib
        );
        assert!(flood.peak_kib <= flood.before_kib + CALLS_KIB, "{flood:?}");
        let median = flood.rejected.get(flood.rejected.len() / 2).copied();
        let as_expected = flood.admitted > 0
            // Most admitted sign-ins meet their deadline: the reserve for the rest of the call suffices.
            && flood.late * 10 <= flood.admitted
            && median.is_some_and(|median| median < DEADLINE / 2)
            && flood.rejected.iter().all(|duration| *duration < DEADLINE)
            && flood.reads >= 5;
        if as_expected {
            return;
        }
        floods.push(flood);
    }
    panic!("no flood met the expectations: {floods:#?}");
}

/// The reasons of a sign-in for which there is no place: none at all, or none for this network.
const REFUSED: [&str; 2] = ["OVERLOADED", "TOO_MANY_CALLS"];

/// Sends [`SIGN_INS`] sign-ins, and measures them, the service's memory, and the calls of another user meanwhile.
async fn flood(stack: &Stack, people: &[Person]) -> Flood {
    // Signs in once: many sessions would end the one that reads.
    let other = stack.person().await.unwrap();
    let other = stack.user(&other).unwrap();
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
            let start = Instant::now();
            let response = other.account().get_account(GetAccountRequest::default()).await;
            response.unwrap_or_else(|status| panic!("GetAccount failed during the flood: {status:?}"));
            slowest.set(slowest.get().max(start.elapsed()));
            reads.set(reads.get() + 1);
            sleep(Duration::from_millis(5)).await;
        }
    };
    let outcomes = tokio::select! {
        outcomes = sign_ins => outcomes,
        () = watch => unreachable!("the loop has no end"),
        () = read => unreachable!("the loop has no end"),
    };
    let count = |kind: &str| outcomes.iter().filter(|(outcome, _)| outcome == kind).count();
    let (admitted, late) = (count("OK"), count(LATE));
    assert_eq!(
        admitted + late + REFUSED.map(count).iter().sum::<usize>(),
        SIGN_INS,
        "a sign-in failed with another reason than {REFUSED:?}: {outcomes:?}"
    );
    let rejected = outcomes
        .iter()
        .filter(|(outcome, _)| REFUSED.contains(&outcome.as_str()));
    let mut rejected: Vec<Duration> = rejected.map(|(_, duration)| *duration).collect();
    rejected.sort_unstable();
    Flood {
        admitted,
        late,
        rejected,
        reads: reads.get(),
        slowest_read: slowest.get(),
        before_kib,
        peak_kib: peak.get(),
    }
}

/// Signs in, and returns the outcome (`OK`, [`LATE`] or the reason of the failure) and the duration.
async fn sign_in(client: &Client, person: &Person) -> (String, Duration) {
    let mut request = Request::new(SignInRequest {
        email: person.email.clone(),
        password: person.password.clone(),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    });
    request.set_timeout(DEADLINE);
    let start = Instant::now();
    let outcome = match client.session().sign_in(request).await {
        Ok(_) => "OK".to_owned(),
        // The deadline passed, on the client or on the server.
        Err(status) if matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) => LATE.to_owned(),
        Err(status) => retryable(&status),
    };
    (outcome, start.elapsed())
}

/// Returns the reason of a failure. Panics if it has no retry delay.
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

/// Returns the resident memory of a process in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
