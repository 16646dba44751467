//! A restore of one schema alone to an older time: both services agree afterwards, and no erased person is alive.

use haven_proto::identity::v1::{DeletionState, GetAccountRequest};
use haven_testkit::Stack;

use super::{
    append, erase, messages, person_with_message, reconcile, reconciled, schema_dump::SchemaDump, state,
};
use crate::{account::deletion::done, status::reason, superuser_sql::scalar};

#[tokio::test]
async fn data_that_is_older_learns_of_sign_ups_and_erasures() {
    let mut stack = Stack::start().await.unwrap();
    let kept = person_with_message(&stack).await;
    let erased = person_with_message(&stack).await;
    let before = SchemaDump::take(&stack, "data");
    erase(&stack, &erased).await;
    let late = person_with_message(&stack).await;
    let late_erased = person_with_message(&stack).await;
    erase(&stack, &late_erased).await;
    append(&stack.user(&kept).unwrap(), "after the dump")
        .await
        .unwrap();

    assert!(stack.data.stop());
    before.restore(&stack);
    stack.data.start().await.unwrap();
    let late_client = stack.user(&late).unwrap();
    let refused = append(&late_client, "again").await.unwrap_err();
    assert_eq!(reason(&refused), "ACCOUNT_NOT_READY");
    assert_eq!(state(&stack, erased.id).await, "receipt person");
    assert_eq!(messages(&stack, erased.id).await, 1);

    // The dry run lists, and changes nothing.
    let listed = reconcile(&stack, &[]).await;
    assert_eq!(listed.code, 1, "{listed:?}");
    assert!(listed.stderr.contains("--apply"), "{listed:?}");
    assert_eq!(listed.people("provision"), [late.id]);
    let mut erasures = [erased.id, late_erased.id];
    erasures.sort_unstable();
    assert_eq!(listed.people("erase-in-data"), erasures);
    assert_eq!(state(&stack, late.id).await, "account");
    assert_eq!(state(&stack, erased.id).await, "receipt person");

    let mended = reconciled(&stack, &["--apply"]).await;
    assert_eq!(mended.people("provision"), [late.id]);
    assert_eq!(mended.people("erase-in-data"), erasures);
    assert_eq!(mended.count("agree"), 4);
    append(&late_client, "again").await.unwrap();
    for person in [&erased, &late_erased] {
        assert_eq!(state(&stack, person.id).await, "receipt tombstone");
        assert_eq!(messages(&stack, person.id).await, 0);
        assert_eq!(done(&stack, person).await.state(), DeletionState::Done);
    }
    assert_eq!(state(&stack, kept.id).await, "account person");
    assert_eq!(messages(&stack, kept.id).await, 1);

    let again = reconciled(&stack, &["--apply"]).await;
    assert_eq!((again.count("agree"), again.count("provision")), (4, 0));
    reconciled(&stack, &[]).await;
}

#[tokio::test]
async fn identity_that_is_older_erases_again_and_locks_who_signed_up_since() {
    let mut stack = Stack::start().await.unwrap();
    let kept = person_with_message(&stack).await;
    let erased = person_with_message(&stack).await;
    let before = SchemaDump::take(&stack, "identity");
    erase(&stack, &erased).await;
    let late = person_with_message(&stack).await;
    let late_erased = person_with_message(&stack).await;
    erase(&stack, &late_erased).await;
    let after = SchemaDump::take(&stack, "identity");

    assert!(stack.identity.stop());
    before.restore(&stack);
    stack.identity.start().await.unwrap();
    assert_eq!(state(&stack, erased.id).await, "account tombstone");
    let mended = reconciled(&stack, &["--apply"]).await;
    assert_eq!(mended.people("erase-account"), [erased.id]);
    assert_eq!(mended.people("keep-receipt"), [late_erased.id]);
    assert_eq!(mended.people("lock"), [late.id]);
    for person in [&erased, &late_erased] {
        assert_eq!(state(&stack, person.id).await, "receipt tombstone");
        assert_eq!(done(&stack, person).await.state(), DeletionState::Done);
    }
    let sign_in = stack
        .anonymous()
        .unwrap()
        .sign_in(&erased.email, &erased.password)
        .await;
    assert!(sign_in.is_err());
    let waiting: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.outbox").await;
    assert_eq!(waiting, 0);

    // Who signed up since the dump is locked, and nothing of theirs is lost.
    assert_eq!(state(&stack, late.id).await, "locked");
    assert_eq!(messages(&stack, late.id).await, 1);
    let late_client = stack.user(&late).unwrap();
    let refused = append(&late_client, "again").await.unwrap_err();
    assert_eq!(reason(&refused), "ACCOUNT_LOCKED");
    let listed = reconciled(&stack, &[]).await;
    assert_eq!(
        (listed.people("locked"), listed.count("lock")),
        (vec![late.id], 0)
    );
    append(&stack.user(&kept).unwrap(), "still here").await.unwrap();

    // The account appears, because identity is restored to a later time: the person is unlocked.
    assert!(stack.identity.stop());
    after.restore(&stack);
    stack.identity.start().await.unwrap();
    let unlocked = reconciled(&stack, &["--apply"]).await;
    assert_eq!(unlocked.people("unlock"), [late.id]);
    append(&late_client, "again").await.unwrap();
    let account = late_client
        .account()
        .get_account(GetAccountRequest::default())
        .await;
    account.unwrap();
    assert_eq!(state(&stack, erased.id).await, "receipt tombstone");
    reconciled(&stack, &[]).await;
}
