//! Nothing private leaks sideways: canaries go through every RPC and every failure, and then everything that a service
//! leaves behind is searched for them.

mod calls;
pub(crate) mod canary;
mod failed_calls;
mod fixture;
mod locations;
mod malformed_connections;
mod postgres_errors;

use haven_proto::identity::v1::SignUpRequest;
use haven_testkit::{client::sign_up_request, random};

use self::{
    canary::{Allowed, Canary, Flock},
    fixture::{ACCOUNTS, Who, World},
    locations::{ANSWERS, LOGS, METRICS, STATEMENTS},
};
use crate::{eventually::eventually, metrics::Metrics, raw_call::headers};

#[tokio::test]
async fn nothing_private_leaks() {
    let mut world = World::start().await;
    for case in calls::cases(&world) {
        let called = world.send(
            case.service,
            case.who,
            &case.path,
            headers(&[]),
            case.body.clone(),
        );
        called
            .await
            .unwrap_or_else(|status| panic!("{}: {status:?}", case.path));
        failed_calls::requests(&world, &case).await;
        failed_calls::envelope(&world, &case).await;
    }
    failed_calls::accounts(&world).await;
    failed_calls::messages(&world).await;
    failed_calls::spoilt_token(&world).await;
    failed_calls::standard_services(&world).await;
    malformed_connections::garbage(&world).await;
    postgres_errors::refuses(&world).await;
    data_is_down(&mut world).await;

    let controls = controls(&world).await;
    let places = locations::all(&world).await;
    for (name, control) in &controls {
        let place = places.iter().find(|place| place.name == *name).unwrap();
        assert!(
            control.found(&place.content).is_some(),
            "{} is not in {name}: nothing else would be found there",
            control.what
        );
    }
    let mut wrong = Vec::new();
    for canary in world.flock.all() {
        for place in &places {
            let found = canary.found(&place.content);
            match (&canary.allowed, found) {
                (Allowed::At(names) | Allowed::Surely(names), Some(_)) if names.contains(&&*place.name) => {}
                (Allowed::Surely(names), None) if names.contains(&&*place.name) => {
                    wrong.push(format!("{} is not in {}", canary.what, place.name));
                }
                (_, Some(found)) => wrong.push(format!("{} is in {}: {found}", canary.what, place.name)),
                (_, None) => {}
            }
        }
    }
    let id = Flock::default().given("the person's id", Allowed::Nowhere, &world.person.id.to_string());
    let statements = places.iter().find(|place| place.name == STATEMENTS).unwrap();
    wrong.extend(
        id.found(&statements.content)
            .map(|found| format!("{} is in {STATEMENTS}: {found}", id.what)),
    );
    assert!(wrong.is_empty(), "{} leaks:\n{}", wrong.len(), wrong.join("\n"));
}

/// Sign-ups while nobody answers, and what is left of them in the outbox.
async fn data_is_down(world: &mut World) {
    world.metrics = Metrics::read(world.stack.data.listeners.metrics).await.page;
    world.stack.data.kill();
    let email = world
        .flock
        .allowed("an email while data is down", Allowed::Surely(&[ACCOUNTS]));
    let password = world.flock.canary("a password while data is down");
    let request: SignUpRequest = sign_up_request(&email.email(), &password.password());
    let signed_up = world.client(Who::Nobody).account().sign_up(request).await;
    world.keep(signed_up).unwrap();
    world.stack.data.start().await.unwrap();
}

/// What has to be found in each place, or the search of it proves nothing.
async fn controls(world: &World) -> Vec<(&'static str, Canary)> {
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
        world
            .send(service, Who::Person, path, headers, Vec::new())
            .await
            .unwrap_err();
        let process = if service == "identity" {
            &world.stack.identity
        } else {
            &world.stack.data
        };
        // It is written when the answer has gone.
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
    let planted = flock.canary("a planted name");
    // Often, because the statistics of what is rare make room for others.
    let statements = format!(r#"SELECT 1 AS "{}";"#, planted.word()).repeat(200);
    world.stack.database.run("postgres", &statements).await.unwrap();
    controls.push((STATEMENTS, planted));
    controls.push(("data.conversations", given("the message's id", &world.message_id)));
    controls
}
