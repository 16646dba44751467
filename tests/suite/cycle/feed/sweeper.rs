//! The sweeper purges tombstones and settled conflicts after 180 days.

use haven_testkit::Stack;

use super::{
    BEGINNING, acknowledge, catch_up, create, delete, pull, store_many,
    tombstone_retention::{COUNT_TOMBSTONES, DELETE_ALL, make_conflict, settle_conflict},
};
use crate::{
    eventually::eventually,
    superuser_sql::{execute, scalar},
    test_device::Device,
};

/// SQL that makes every tombstone older than 180 days.
const AGE_TOMBSTONES: &str = "UPDATE data.encrypted_cycle_data SET deleted_at = now() - interval '181 days'
    WHERE deleted_at IS NOT NULL";

#[tokio::test]
async fn a_conflict_settled_late_keeps_its_tombstone_until_every_device_has_pulled_it() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    let record = create(&phone, "a").await;
    let conflict = make_conflict(&laptop, record, 0).await;
    delete(&phone, record, 1).await;
    let cursor = catch_up(&laptop, BEGINNING).await;
    execute(&stack.database, AGE_TOMBSTONES).await;
    settle_conflict(&phone, record, 2, conflict).await;
    catch_up(&phone, BEGINNING).await;
    // The sweeper's statement.
    let sweep = format!(
        "SET ROLE data_service;
         SELECT set_config('request.jwt.claims', '{{\"sub\":\"{}\"}}', false);
         SELECT data.purge_changes(1000, true)",
        phone.person.id
    );
    execute(&stack.database, &sweep).await;
    let (entries, cursor) = pull(&laptop, &cursor).await.unwrap();
    let settled = entries.iter().find_map(|entry| entry.conflict.as_ref());
    assert!(settled.unwrap().settle_time.is_some());
    let tombstone = entries.iter().find_map(|entry| entry.record.as_ref());
    assert!(tombstone.unwrap().delete_time.is_some());
    assert_eq!(scalar::<i64>(&stack.database, COUNT_TOMBSTONES).await, 1);
    acknowledge(&laptop, &cursor).await.unwrap();
    assert_eq!(scalar::<i64>(&stack.database, COUNT_TOMBSTONES).await, 0);
    // A tombstone without a recently settled conflict is purged by its own age.
    let record = create(&phone, "b").await;
    delete(&phone, record, 1).await;
    execute(&stack.database, &format!("{AGE_TOMBSTONES}; {sweep}")).await;
    assert_eq!(scalar::<i64>(&stack.database, COUNT_TOMBSTONES).await, 0);
}

#[tokio::test]
async fn a_failed_purge_of_one_person_does_not_stop_the_sweep() {
    let mut stack = Stack::start().await.unwrap();
    for _ in 0..2 {
        let phone = Device::invent(&stack).await.unwrap();
        let record = create(&phone, "a").await;
        delete(&phone, record, 1).await;
    }
    // The first purge fails, of either person. A sequence is not rolled back.
    execute(
        &stack.database,
        "CREATE SEQUENCE public.sweeps;
         CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS
             $$ BEGIN IF nextval('public.sweeps') = 1 THEN RAISE 'not this one'; END IF; RETURN OLD; END $$;
         CREATE TRIGGER fail BEFORE DELETE ON data.encrypted_cycle_data FOR EACH ROW EXECUTE FUNCTION public.fail();",
    )
    .await;
    execute(&stack.database, AGE_TOMBSTONES).await;
    // A sweep runs soon after the start, and the next one a minute later.
    stack.data.kill();
    stack.data.start().await.unwrap();
    eventually("the other person's tombstone is purged", async || {
        scalar::<i64>(&stack.database, COUNT_TOMBSTONES).await == 1
    })
    .await;
}

/// The stuck person has more and older tombstones than one batch in which the sweeper looks for people.
#[tokio::test]
async fn a_failing_purge_of_many_tombstones_does_not_delay_other_people() {
    let mut stack = Stack::start().await.unwrap();
    let stuck = Device::invent(&stack).await.unwrap();
    store_many(&stack, &stuck, 150, 1).await;
    execute(&stack.database, DELETE_ALL).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let phone = Device::invent(&stack).await.unwrap();
        let record = create(&phone, "a").await;
        delete(&phone, record, 1).await;
        others.push(phone);
    }
    let fail = format!(
        "{AGE_TOMBSTONES};
         UPDATE data.encrypted_cycle_data SET deleted_at = deleted_at - interval '1 day' WHERE user_id = '{0}';
         CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
         CREATE TRIGGER fail BEFORE DELETE ON data.encrypted_cycle_data FOR EACH ROW WHEN (OLD.user_id = '{0}')
             EXECUTE FUNCTION public.fail();",
        stuck.person.id
    );
    execute(&stack.database, &fail).await;
    // A sweep runs soon after the start. This test does not wait for the next one, a minute later.
    stack.data.kill();
    stack.data.start().await.unwrap();
    eventually("the other people's tombstones are purged", async || {
        scalar::<i64>(&stack.database, COUNT_TOMBSTONES).await <= 150
    })
    .await;
    assert_eq!(scalar::<i64>(&stack.database, COUNT_TOMBSTONES).await, 150);
    let theirs = "SELECT count(DISTINCT user_id) FROM data.encrypted_cycle_data";
    assert_eq!(scalar::<i64>(&stack.database, theirs).await, 1);
}
