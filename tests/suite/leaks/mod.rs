//! Private values do not leak: canaries go through every RPC and every kind of failure, and then logs, metrics, answers,
//! statements and tables are searched for them.

mod activity;
pub(crate) mod calls;
pub(crate) mod canary;
mod failed_calls;
pub(crate) mod fixture;
mod locations;
mod malformed_connections;
mod postgres_errors;
mod production;

use haven_proto::identity::v1::SignUpRequest;
use haven_testkit::{client::sign_up_request, random};

use self::{
    canary::{Allowed, Canary, Flock},
    fixture::{ACCOUNTS, Caller, Fixture},
    locations::{ANSWERS, LOGS, METRICS, POSTGRES_LOG, STATEMENTS},
};
use crate::{eventually::eventually, metrics::Metrics, raw_call::headers};

#[tokio::test]
async fn private_values_do_not_leak() {
    let fixture = Fixture::start().await;
    assert_no_leaks(fixture).await;
}

/// Makes every call and every kind of failure, and searches all locations for canaries.
async fn assert_no_leaks(mut fixture: Fixture) {
    for case in calls::cases(&fixture) {
        let called = fixture.send(
            case.server,
            case.caller,
            &case.path,
            headers(&[]),
            case.body.clone(),
        );
        called
            .await
            .unwrap_or_else(|status| panic!("{}: {status:?}", case.path));
        failed_calls::requests(&fixture, &case).await;
        failed_calls::envelope(&fixture, &case).await;
    }
    failed_calls::accounts(&fixture).await;
    failed_calls::messages(&fixture).await;
    failed_calls::changed_token(&fixture).await;
    failed_calls::standard_services(&fixture).await;
    malformed_connections::all(&fixture).await;
    postgres_errors::all(&fixture).await;
    data_is_down(&mut fixture).await;

    let controls = controls(&fixture).await;
    let locations = locations::all(&fixture).await;
    for (name, control) in &controls {
        let location = locations.iter().find(|location| location.name == *name).unwrap();
        assert!(
            control.found(&location.content).is_some(),
            "{} is not in {name}: a search there proves nothing",
            control.what
        );
    }
    let mut leaks = Vec::new();
    for canary in fixture.flock.all() {
        for location in &locations {
            let found = canary.found(&location.content);
            match (&canary.allowed, found) {
                (Allowed::At(names) | Allowed::Surely(names), Some(_))
                    if names.contains(&&*location.name) => {}
                (Allowed::Surely(names), None) if names.contains(&&*location.name) => {
                    leaks.push(format!("{} is not in {}", canary.what, location.name));
                }
                (_, Some(found)) => leaks.push(format!("{} is in {}: {found}", canary.what, location.name)),
                (_, None) => {}
            }
        }
    }
    let id = Flock::default().given(
        "the person's id",
        Allowed::Nowhere,
        &fixture.person.id.to_string(),
    );
    let statements = locations
        .iter()
        .find(|location| location.name == STATEMENTS)
        .unwrap();
    leaks.extend(
        id.found(&statements.content)
            .map(|found| format!("{} is in {STATEMENTS}: {found}", id.what)),
    );
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

/// Signs a person up while data is down, so that the outbox keeps an entry.
async fn data_is_down(fixture: &mut Fixture) {
    fixture.metrics = Metrics::read(fixture.stack.data.listeners.metrics).await.page;
    fixture.stack.data.kill();
    let email = fixture
        .flock
        .allowed("an email while data is down", Allowed::Surely(&[ACCOUNTS]));
    let password = fixture.flock.canary("a password while data is down");
    let request: SignUpRequest = sign_up_request(&email.email(), &password.password());
    let signed_up = fixture.client(Caller::Anonymous).account().sign_up(request).await;
    fixture.keep(signed_up).unwrap();
    fixture.stack.data.start().await.unwrap();
}

/// Returns values that have to be found in each location, or a search of it proves nothing.
async fn controls(fixture: &Fixture) -> Vec<(&'static str, Canary)> {
    let flock = Flock::default();
    let given = |what: &str, value: &str| flock.given(what, Allowed::Nowhere, value);
    let mut controls = Vec::new();
    for ((service, path), log) in [
        ("identity", "/haven.identity.v1.SessionService/SignIn"),
        ("data", "/haven.data.v1.ConversationService/GetMessage"),
    ]
    .into_iter()
    .zip(LOGS)
    {
        let id = random::uuid().to_string();
        let headers = headers(&[("x-request-id", &id)]);
        fixture
            .send(service, Caller::Person, path, headers, Vec::new())
            .await
            .unwrap_err();
        let process = if service == "identity" {
            &fixture.stack.identity
        } else {
            &fixture.stack.data
        };
        // The log line is written after the answer is sent.
        eventually("the failed call is logged", async || {
            process.output().unwrap().contains(&id)
        })
        .await;
        let id = given("the id of a failed call", &id);
        controls.extend([(log, id.clone()), (ANSWERS, id)]);
    }
    let rpcs = [
        "haven.identity.v1.AccountService/SignUp",
        "haven.data.v1.ConversationService/AppendMessage",
    ];
    controls.extend(rpcs.map(|rpc| (METRICS, given("an RPC's name", rpc))));
    let planted = flock.canary("a planted column name");
    // Repeated, because entries of rare statements are evicted first.
    let statements = format!(r#"SELECT 1 AS "{}";"#, planted.word()).repeat(200);
    fixture.stack.database.run("postgres", &statements).await.unwrap();
    controls.push((STATEMENTS, planted));
    if fixture.is_production {
        // The audit log has the names of tables.
        let planted = flock.canary("a planted table's name");
        let table = format!(r#"CREATE TABLE public."{}" ();"#, planted.word());
        fixture.stack.database.run("postgres", &table).await.unwrap();
        controls.push((POSTGRES_LOG, planted));
    }
    controls.push((
        "data.conversations",
        given("the message's id", &fixture.message_id),
    ));
    controls
}
