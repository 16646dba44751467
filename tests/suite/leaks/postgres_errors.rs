//! Calls that fail in Postgres, which quotes rows in what it says.

use std::time::Duration;

use haven_proto::{
    data::v1::ListMessagesRequest,
    identity::v1::{Goal, SignInRequest, SignUpRequest},
};
use haven_testkit::{client::sign_up_request, random};
use sqlx::Connection;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
};

use super::{
    canary::Allowed,
    fixture::{Who, World, message},
    locations::POSTGRES_LOG,
};
use crate::status::reason;

/// A table's constraint, an exception that names the row, a missing grant, a lock, a server that takes no connection.
pub(super) async fn refuses(world: &World) {
    constraint(world).await;
    exception(world).await;
    grant(world).await;
    lock(world).await;
    connection(world).await;
}

async fn run(world: &World, sql: &str) {
    world.stack.database.run("postgres", sql).await.unwrap();
}

/// A sign-up that a table or a trigger can be told to refuse by its goal.
fn sign_up(world: &World, email: &Allowed, goal: Goal) -> SignUpRequest {
    let email = world
        .flock
        .allowed("the email of a row that is refused", email.clone());
    let password = world.flock.canary("the password of a row that is refused");
    SignUpRequest {
        goals: vec![goal.into()],
        ..sign_up_request(&email.email(), &password.password())
    }
}

async fn signs_up(world: &World, request: SignUpRequest, expected: &str) {
    let signed_up = world.client(Who::Nobody).account().sign_up(request).await;
    assert_eq!(reason(&world.keep(signed_up).unwrap_err()), expected);
}

async fn appends(world: &World, what: &str, expected: &str) {
    let request = message(&world.flock.canary(what));
    let appended = world
        .client(Who::Person)
        .conversation()
        .append_message(request)
        .await;
    assert_eq!(reason(&world.keep(appended).unwrap_err()), expected, "{what}");
}

async fn constraint(world: &World) {
    run(
        world,
        "ALTER TABLE identity.users ADD CONSTRAINT no_roommates
             CHECK (NOT goals @> '{roommate_relations}') NOT VALID;
         ALTER TABLE data.conversations ADD CONSTRAINT no_more CHECK (false) NOT VALID",
    )
    .await;
    let request = sign_up(world, &Allowed::Nowhere, Goal::RoommateRelations);
    signs_up(world, request, "INTERNAL").await;
    appends(world, "a row that breaks a constraint", "INTERNAL").await;
    run(world, "ALTER TABLE data.conversations DROP CONSTRAINT no_more").await;
}

/// What a trigger says, Postgres logs: which shows that the search of its log would find something.
async fn exception(world: &World) {
    run(
        world,
        "CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             RAISE WARNING 'a row: %', NEW;
             RAISE EXCEPTION 'a row: %', NEW;
         END $$;
         CREATE TRIGGER tell BEFORE INSERT ON identity.users FOR EACH ROW
             WHEN (NEW.goals @> '{dating_skills}') EXECUTE FUNCTION public.tell()",
    )
    .await;
    let request = sign_up(world, &Allowed::Surely(&[POSTGRES_LOG]), Goal::DatingSkills);
    signs_up(world, request, "INTERNAL").await;
}

async fn grant(world: &World) {
    run(
        world,
        "REVOKE INSERT ON data.conversations FROM data_user;
         REVOKE INSERT ON identity.users FROM identity_anon;
         REVOKE EXECUTE ON FUNCTION identity.find_credential(text) FROM identity_anon",
    )
    .await;
    appends(world, "a row without a grant", "INTERNAL").await;
    let request = sign_up(world, &Allowed::Nowhere, Goal::MakeFriends);
    signs_up(world, request, "INTERNAL").await;
    let request = SignInRequest {
        email: world.flock.canary("an email without a grant").email(),
        password: world.flock.canary("a password without a grant").password(),
        request_id: random::uuid().to_string(),
    };
    let signed_in = world.client(Who::Nobody).session().sign_in(request).await;
    assert_eq!(reason(&world.keep(signed_in).unwrap_err()), "INTERNAL");
    run(
        world,
        "GRANT INSERT ON data.conversations TO data_user;
         GRANT INSERT ON identity.users TO identity_anon;
         GRANT EXECUTE ON FUNCTION identity.find_credential(text) TO identity_anon",
    )
    .await;
}

async fn lock(world: &World) {
    let mut superuser = world.stack.database.connect("postgres").await.unwrap();
    let mut locked = superuser.begin().await.unwrap();
    sqlx::query("LOCK TABLE data.conversations, identity.users IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *locked)
        .await
        .unwrap();
    let deadline: MetadataValue<Ascii> = "700m".parse().unwrap();
    let mut append = Request::new(message(&world.flock.canary("a row that waits")));
    append.metadata_mut().insert("grpc-timeout", deadline.clone());
    let mut sign_up = Request::new(sign_up(world, &Allowed::Nowhere, Goal::MakeFriends));
    sign_up.metadata_mut().insert("grpc-timeout", deadline);
    let (mut conversation, mut account) = (
        world.client(Who::Person).conversation(),
        world.client(Who::Nobody).account(),
    );
    let (appended, signed_up) = tokio::join!(conversation.append_message(append), account.sign_up(sign_up));
    for outcome in [world.keep(appended), world.keep(signed_up)] {
        let status = outcome.unwrap_err();
        // On a busy machine the client's own clock can be first: then the status is not the service's.
        assert!(
            status.details().is_empty() || reason(&status) == "DEADLINE",
            "{status:?}"
        );
    }
    locked.rollback().await.unwrap();
}

async fn connection(world: &World) {
    let name = &world.stack.database.name;
    let cut = format!(
        "ALTER DATABASE {name} CONNECTION LIMIT 0;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{name}' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    );
    run(world, &cut).await;
    appends(world, "no connection", "DEPENDENCY_UNAVAILABLE").await;
    let request = sign_up(world, &Allowed::Nowhere, Goal::MakeFriends);
    signs_up(world, request, "DEPENDENCY_UNAVAILABLE").await;
    run(world, &format!("ALTER DATABASE {name} CONNECTION LIMIT -1")).await;
    for _ in 0..100 {
        let mut conversation = world.client(Who::Person).conversation();
        let listed = conversation.list_messages(ListMessagesRequest::default()).await;
        if world.keep(listed).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the services do not find back to their database");
}
