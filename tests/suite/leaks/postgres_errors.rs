//! Calls that fail in Postgres. Its error messages quote rows.

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
    fixture::{ACCOUNTS, Caller, Fixture, message},
    locations::POSTGRES_LOG,
};
use crate::status::reason;

/// Makes calls fail by a constraint, by an exception that quotes the row, by a missing grant, by a lock, and by a
/// server that takes no connection.
pub(super) async fn all(fixture: &Fixture) {
    constraint(fixture).await;
    exception(fixture).await;
    grant(fixture).await;
    lock(fixture).await;
    connection(fixture).await;
}

async fn run(fixture: &Fixture, sql: &str) {
    fixture.stack.database.run("postgres", sql).await.unwrap();
}

/// Returns a sign-up that a constraint or a trigger can refuse by its goal.
fn sign_up(fixture: &Fixture, email: &Allowed, goal: Goal) -> SignUpRequest {
    let email = fixture
        .flock
        .allowed("the email of a row that is refused", email.clone());
    let password = fixture.flock.canary("the password of a row that is refused");
    SignUpRequest {
        goals: vec![goal.into()],
        ..sign_up_request(&email.email(), &password.password())
    }
}

async fn sign_up_fails(fixture: &Fixture, request: SignUpRequest, expected: &str) {
    let signed_up = fixture.client(Caller::Anonymous).account().sign_up(request).await;
    assert_eq!(reason(&fixture.keep(signed_up).unwrap_err()), expected);
}

async fn append_fails(fixture: &Fixture, what: &str, expected: &str) {
    let request = message(&fixture.flock.canary(what));
    let appended = fixture
        .client(Caller::Person)
        .conversation()
        .append_message(request)
        .await;
    assert_eq!(reason(&fixture.keep(appended).unwrap_err()), expected, "{what}");
}

async fn constraint(fixture: &Fixture) {
    run(
        fixture,
        "ALTER TABLE identity.users ADD CONSTRAINT no_roommates
             CHECK (NOT goals @> '{roommate_relations}') NOT VALID;
         ALTER TABLE data.conversations ADD CONSTRAINT no_more CHECK (false) NOT VALID",
    )
    .await;
    let request = sign_up(fixture, &Allowed::Nowhere, Goal::RoommateRelations);
    sign_up_fails(fixture, request, "INTERNAL").await;
    append_fails(fixture, "a row that breaks a constraint", "INTERNAL").await;
    run(fixture, "ALTER TABLE data.conversations DROP CONSTRAINT no_more").await;
}

/// Postgres logs the trigger's warning, which shows that a search of its log finds values. In production it does not log
/// what the sessions of services raise.
async fn exception(fixture: &Fixture) {
    run(
        fixture,
        "CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             RAISE WARNING 'a row: %', NEW;
             RAISE EXCEPTION 'a row: %', NEW;
         END $$;
         CREATE TRIGGER tell BEFORE INSERT ON identity.users FOR EACH ROW
             WHEN (NEW.goals @> '{dating_skills}') EXECUTE FUNCTION public.tell()",
    )
    .await;
    let allowed = if fixture.is_production {
        Allowed::Nowhere
    } else {
        Allowed::Surely(&[POSTGRES_LOG])
    };
    let request = sign_up(fixture, &allowed, Goal::DatingSkills);
    sign_up_fails(fixture, request, "INTERNAL").await;
}

async fn grant(fixture: &Fixture) {
    run(
        fixture,
        "REVOKE INSERT ON data.conversations FROM data_user;
         REVOKE INSERT ON identity.users FROM identity_anon;
         REVOKE EXECUTE ON FUNCTION identity.find_sign_in(text, bytea[], timestamptz) FROM identity_anon",
    )
    .await;
    append_fails(fixture, "a row without a grant", "INTERNAL").await;
    let request = sign_up(fixture, &Allowed::Nowhere, Goal::MakeFriends);
    sign_up_fails(fixture, request, "INTERNAL").await;
    let request = SignInRequest {
        email: fixture.flock.canary("an email without a grant").email(),
        password: fixture.flock.canary("a password without a grant").password(),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    };
    let signed_in = fixture.client(Caller::Anonymous).session().sign_in(request).await;
    assert_eq!(reason(&fixture.keep(signed_in).unwrap_err()), "INTERNAL");
    run(
        fixture,
        "GRANT INSERT ON data.conversations TO data_user;
         GRANT INSERT ON identity.users TO identity_anon;
         GRANT EXECUTE ON FUNCTION identity.find_sign_in(text, bytea[], timestamptz) TO identity_anon",
    )
    .await;
}

async fn lock(fixture: &Fixture) {
    let mut superuser = fixture.stack.database.connect("postgres").await.unwrap();
    let mut locked = superuser.begin().await.unwrap();
    sqlx::query("LOCK TABLE data.conversations, identity.users IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *locked)
        .await
        .unwrap();
    let deadline: MetadataValue<Ascii> = "700m".parse().unwrap();
    let mut append = Request::new(message(&fixture.flock.canary("a row that waits")));
    append.metadata_mut().insert("grpc-timeout", deadline.clone());
    // Its statement goes on when the caller gave up, and stores the account when the lock is free.
    let mut sign_up = Request::new(sign_up(fixture, &Allowed::At(&[ACCOUNTS]), Goal::MakeFriends));
    sign_up.metadata_mut().insert("grpc-timeout", deadline);
    let (mut conversation, mut account) = (
        fixture.client(Caller::Person).conversation(),
        fixture.client(Caller::Anonymous).account(),
    );
    let (appended, signed_up) = tokio::join!(conversation.append_message(append), account.sign_up(sign_up));
    for outcome in [fixture.keep(appended), fixture.keep(signed_up)] {
        let status = outcome.unwrap_err();
        // On a busy machine the client's own timer can fire first: then the status is not the service's.
        assert!(
            status.details().is_empty() || reason(&status) == "DEADLINE",
            "{status:?}"
        );
    }
    locked.rollback().await.unwrap();
}

async fn connection(fixture: &Fixture) {
    let name = &fixture.stack.database.name;
    let cut = format!(
        "ALTER DATABASE {name} CONNECTION LIMIT 0;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{name}' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    );
    run(fixture, &cut).await;
    append_fails(fixture, "no connection", "DEPENDENCY_UNAVAILABLE").await;
    let request = sign_up(fixture, &Allowed::Nowhere, Goal::MakeFriends);
    sign_up_fails(fixture, request, "DEPENDENCY_UNAVAILABLE").await;
    run(fixture, &format!("ALTER DATABASE {name} CONNECTION LIMIT -1")).await;
    for _ in 0..100 {
        let mut conversation = fixture.client(Caller::Person).conversation();
        let listed = conversation.list_messages(ListMessagesRequest::default()).await;
        if fixture.keep(listed).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the services do not reconnect to their database");
}
