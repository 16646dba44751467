//! Calls that arrive after the erasure of their person, such as copies that a proxy or a queue held back: none of them
//! creates anything.

use futures_util::future::{join, join_all};
use haven_platform::access::AccessTable;
use haven_proto::{
    access::v1::Access,
    data::v1::ProvisionUserRequest,
    identity::v1::{Account, DeleteAccountRequest, GetAccountRequest, SignUpRequest},
};
use haven_testkit::{Client, Person, Stack, client::sign_up_request, random};
use prost::Message;
use sqlx::{AssertSqlSafe, Connection};
use tonic::Status;

use super::{delete, deletion_by, deletion_of, done, rows::traces};
use crate::{
    account::external_provider::{external_person, stack},
    eventually::eventually,
    every_rpc::{self, call, rpcs, server_of, service_of},
    permissions::fixture::Fixture,
    raw_call::headers,
    retry::{retry_call, with_long_timeout},
    status::reason,
    superuser_sql::{execute, execute_with, scalar, scalar_with},
};

/// Password that meets the policy.
const PASSWORD: &str = "Correct-Horse-7-Battery";

/// Calls SignUp with retries.
async fn sign_up(client: &Client, request: &SignUpRequest) -> Result<Account, Status> {
    let mut accounts = client.account();
    let answer = retry_call(request.clone(), async |request| accounts.sign_up(request).await);
    Ok(answer.await?.account.unwrap())
}

/// Signs a new person up with a request that is copied later.
async fn new_person(stack: &Stack) -> (SignUpRequest, Person) {
    let request = sign_up_request(&format!("{}@example.org", random::uuid()), PASSWORD);
    let anonymous = stack.anonymous().unwrap();
    sign_up(&anonymous, &request).await.unwrap();
    let person = anonymous.sign_in(&request.email, PASSWORD).await.unwrap();
    (request, person)
}

/// Counts the accounts with the email address.
async fn accounts(stack: &Stack, email: &str) -> i64 {
    let sql = "SELECT count(*) FROM identity.users WHERE email = $1";
    scalar_with(&stack.database, sql, email.to_owned()).await
}

#[tokio::test]
async fn a_late_copy_of_a_sign_up_makes_no_account() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    for by_service in [false, true] {
        let (request, person) = new_person(stack).await;
        if by_service {
            let backend = stack.service("backend").unwrap();
            delete(&backend, &deletion_of(&person)).await.unwrap();
        } else {
            let client = stack.user(&person).unwrap();
            delete(&client, &deletion_by(&person)).await.unwrap();
        }
        let other_content = SignUpRequest {
            password: "Another-Horse-8-Battery".into(),
            ..request.clone()
        };
        // Also a copy that was changed, and one that would not be accepted any more.
        let no_consents = SignUpRequest {
            consents: Vec::new(),
            ..request.clone()
        };
        for copy in [&request, &other_content, &no_consents] {
            let status = sign_up(&anonymous, copy).await.unwrap_err();
            assert_eq!(reason(&status), "ACCOUNT_ERASED", "by a service: {by_service}");
        }
        assert_eq!(accounts(stack, &request.email).await, 0);
        done(stack, &person).await;
        assert_eq!(
            traces(stack, &person).await,
            ["data.tombstones", "identity.erasures"]
        );
        // The address is free for the same person, who signs up again.
        let again = sign_up_request(&request.email, PASSWORD);
        let account = sign_up(&anonymous, &again).await.unwrap();
        assert_ne!(account.id, person.id.to_string());
        let status = sign_up(&anonymous, &request).await.unwrap_err();
        assert_eq!(reason(&status), "ACCOUNT_ERASED");
    }
}

/// The copy has looked for an earlier sign-up before there was one. Its statement then waits for the transaction that has the
/// address and the request id, and both are free when that transaction ends with the deletion.
#[tokio::test]
async fn a_copy_that_waits_for_the_deletion_makes_no_account() {
    let stack = Stack::start().await.unwrap();
    let request = sign_up_request("ada@example.org", PASSWORD);
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let mut first = superuser.begin().await.unwrap();
    let person = random::uuid();
    let sign_up_rows = format!(
        "SET LOCAL request.jwt.claims = '{{\"sub\": \"{person}\"}}';
         INSERT INTO identity.users (id, email, email_canonical, password_hash, goals, created_at, updated_at)
            VALUES ('{person}', 'ada@example.org', 'ada@example.org', '$argon2id$x', '{{make_friends}}', now(), now());
         INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
            VALUES ('{person}', '{}', 'SignUp', sha256(''), '{{}}', now())",
        request.request_id
    );
    let sign_up_rows = sqlx::raw_sql(AssertSqlSafe(sign_up_rows));
    sign_up_rows.execute(&mut *first).await.unwrap();
    let copy = tokio::spawn({
        let (client, request) = (stack.anonymous().unwrap(), with_long_timeout(request.clone()));
        async move { client.account().sign_up(request).await }
    });
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'identity_app' AND wait_event_type = 'Lock')";
    eventually("the copy waits", async || scalar(&stack.database, waits).await).await;
    let erase =
        "SELECT identity.erase_account(gen_random_uuid(), NULL, NULL, NULL, gen_random_uuid(), now(), now())";
    sqlx::raw_sql(erase).execute(&mut *first).await.unwrap();
    first.commit().await.unwrap();
    let status = copy.await.unwrap().unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
    assert_eq!(accounts(&stack, "ada@example.org").await, 0);
}

/// Copies in a crowd, some of which come before the deletion.
#[tokio::test]
async fn of_copies_and_a_deletion_at_once_no_account_is_left() {
    let stack = Stack::shared().await.unwrap();
    for _ in 0..5 {
        let (request, person) = new_person(stack).await;
        let (client, anonymous) = (stack.user(&person).unwrap(), stack.anonymous().unwrap());
        let deletion = deletion_by(&person);
        let copies = (0..10).map(|_| sign_up(&anonymous, &request));
        let (copies, deleted) = join(join_all(copies), delete(&client, &deletion)).await;
        deleted.unwrap();
        for copy in copies {
            match copy {
                Ok(account) => assert_eq!(account.id, person.id.to_string(), "before the deletion"),
                Err(status) => assert_eq!(reason(&status), "ACCOUNT_ERASED"),
            }
        }
        assert_eq!(accounts(stack, &request.email).await, 0);
    }
}

/// A person with many rows is erased in batches. Until the last one, the account has neither an address nor a password.
#[tokio::test]
async fn a_late_copy_is_refused_while_the_account_is_erased_in_batches() {
    let stack = Stack::start().await.unwrap();
    let (request, person) = new_person(&stack).await;
    let events = format!(
        "INSERT INTO identity.security_audit_log (user_id, number, event, refused, occurred_at, digest)
            SELECT '{0}', 2 + n, 'sign_in', true, now(), sha256('') FROM generate_series(1, 3000) AS n;
        UPDATE identity.audit_chains SET last_number = 3002 WHERE user_id = '{0}'",
        person.id
    );
    execute(&stack.database, &events).await;
    let mut holder = stack.database.connect("postgres").await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE identity.consents IN SHARE MODE")
        .execute(&mut holder)
        .await
        .unwrap();
    let mut deletion = tonic::Request::new(deletion_by(&person));
    deletion.set_timeout(std::time::Duration::from_secs(3));
    let client = stack.user(&person).unwrap();
    client.account().delete_account(deletion).await.unwrap();
    let marked = "SELECT count(*) FROM identity.users WHERE erased_at IS NOT NULL";
    assert_eq!(scalar::<i64>(&stack.database, marked).await, 1);
    let status = sign_up(&stack.anonymous().unwrap(), &request).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
    holder.close().await.unwrap();
    done(&stack, &person).await;
    assert_eq!(accounts(&stack, &request.email).await, 0);
}

/// Request ids are known for a week. The digest of a sign-up's goes then, and the receipt stays.
#[tokio::test]
async fn the_sign_up_of_an_erased_account_is_forgotten_after_a_week() {
    let mut stack = Stack::start().await.unwrap();
    let mut people = Vec::new();
    for days in [6, 8] {
        let (_, person) = new_person(&stack).await;
        let client = stack.user(&person).unwrap();
        delete(&client, &deletion_by(&person)).await.unwrap();
        execute_with(
            &stack.database,
            match days {
                6 => {
                    "UPDATE identity.erasures SET requested_at = now() - interval '6 days' WHERE user_id = $1"
                }
                _ => {
                    "UPDATE identity.erasures SET requested_at = now() - interval '8 days' WHERE user_id = $1"
                }
            },
            person.id,
        )
        .await;
        people.push(person);
    }
    // The first round is soon after the start.
    stack.identity.kill();
    stack.identity.start().await.unwrap();
    let known = async |person: &Person| {
        let sql = "SELECT sign_up_digest IS NOT NULL FROM identity.erasures WHERE user_id = $1";
        scalar_with::<bool, _>(&stack.database, sql, person.id).await
    };
    eventually("the older one is forgotten", async || !known(&people[1]).await).await;
    assert!(known(&people[0]).await);
}

/// The first call of a person of another provider creates an account, and its copy after the erasure does not.
#[tokio::test]
async fn a_late_first_call_of_an_external_person_makes_no_account() {
    let (stack, _directory) = stack("external").await;
    let person = random::uuid();
    let client = external_person(&stack, person);
    let get = async || client.account().get_account(GetAccountRequest::default()).await;
    get().await.unwrap();
    let deletion = DeleteAccountRequest {
        request_id: random::uuid().to_string(),
        ..DeleteAccountRequest::default()
    };
    // Copies at the same time as the deletion.
    let copies = join_all((0..10).map(|_| get()));
    let (copies, deleted) = join(copies, delete(&client, &deletion)).await;
    deleted.unwrap();
    for status in copies.into_iter().filter_map(Result::err) {
        assert_eq!(reason(&status), "ACCOUNT_ERASED");
    }
    assert_eq!(reason(&get().await.unwrap_err()), "ACCOUNT_ERASED");
    let accounts: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.users").await;
    assert_eq!(accounts, 0);
}

/// A call of each RPC that a person with rows of all kinds can make arrives after the erasure: from the person, whose token still
/// lives, or about the person from a service. None leaves a row that mentions the person.
#[tokio::test]
async fn no_late_call_stores_anything_of_an_erased_person() {
    let stack = Stack::start().await.unwrap();
    let (mut problems, mut late) = (Vec::new(), 0);
    for rpc in rpcs() {
        // Reads, and watches that do not end.
        let method = rpc.rsplit('/').next().unwrap();
        if ["List", "Watch", "Pull"]
            .iter()
            .any(|read| method.starts_with(read))
            || method == "SignUp"
        {
            continue;
        }
        let fixture = Fixture::of_new_person(&stack, &rpc).await;
        let person = fixture.person.clone();
        let client = stack.user(&person).unwrap();
        let service = stack.service(service_of(&rpc)).unwrap();
        let callers = match access(&rpc) {
            Access::Anyone => vec![(stack.anonymous().unwrap(), false)],
            Access::User => vec![(client.clone(), false)],
            Access::Service => vec![(service, true)],
            _ => vec![(client.clone(), false), (service, true)],
        };
        let calls: Vec<_> = callers
            .into_iter()
            .map(|(caller, as_service)| (caller, body(&rpc, &fixture, as_service)))
            .collect();
        delete(&client, &deletion_by(&person)).await.unwrap();
        done(&stack, &person).await;
        for (caller, body) in calls {
            let path = format!("/{rpc}");
            let answer = call(&caller, server_of(&rpc), &path, headers(&[]), body).await;
            late += 1;
            let left = traces(&stack, &person).await;
            if left != ["data.tombstones", "identity.erasures"] {
                let outcome = answer.map_or_else(|status| reason(&status), |_| "OK".to_owned());
                problems.push(format!("{rpc}: {outcome}, and rows in {left:?}"));
            }
        }
    }
    eprintln!("{late} late calls");
    assert!(late > 40, "{late}");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Returns the access that `rpc` declares.
fn access(rpc: &str) -> Access {
    let (service, _) = rpc.split_once('/').unwrap();
    let table = AccessTable::read([haven_proto::FILE_DESCRIPTOR_SET], &[service]).unwrap();
    table.find(&format!("/{rpc}")).unwrap().access
}

/// Returns a good request of `rpc` about the person of `fixture`.
fn body(rpc: &str, fixture: &Fixture, as_service: bool) -> Vec<u8> {
    if rpc.ends_with("/ProvisionUser") {
        return ProvisionUserRequest {
            user_id: fixture.person.id.to_string(),
            request_id: random::uuid().to_string(),
        }
        .encode_to_vec();
    }
    every_rpc::request(rpc, &fixture.subject(as_service)).unwrap()
}
