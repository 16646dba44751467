//! Tokens that a user with the owner's rights moved to another row: they do not open, and errors do not show their
//! content.

use haven_data::domain::{
    analysis, message,
    sealing::{Cell, Sealed},
};
use haven_platform::call::UserId;
use haven_proto::data::v1::GetMessageRequest;
use haven_testkit::{Person, Stack};
use tonic::Code;
use uuid::Uuid;

use super::{OLD, keys, new_key, own_keys, ring, rows_under, seal, seed, seeded_text, superuser};
use crate::{eventually::eventually, status::reason};

/// Swaps the tokens of two rows.
async fn swap(stack: &Stack, one: (&Person, Uuid), other: (&Person, Uuid)) {
    let swapping = sqlx::query(
        "UPDATE data.conversations AS c SET message_text = o.message_text
        FROM data.conversations AS o
        WHERE (c.user_id, c.id, o.user_id, o.id) IN (($1, $2, $3, $4), ($3, $4, $1, $2))",
    );
    let swapping = swapping.bind(one.0.id).bind(one.1).bind(other.0.id).bind(other.1);
    let swapped = swapping.execute(&mut superuser(stack).await).await.unwrap();
    assert_eq!(swapped.rows_affected(), 2);
}

/// Replaces the token of a row.
async fn replace(stack: &Stack, person: &Person, row: Uuid, sealed: &Sealed) {
    let putting =
        "UPDATE data.conversations SET message_text = $3, key_id = $4 WHERE user_id = $1 AND id = $2";
    let putting = sqlx::query(putting).bind(person.id).bind(row);
    let putting = putting.bind(&sealed.token).bind(&sealed.key_id);
    let put = putting.execute(&mut superuser(stack).await).await.unwrap();
    assert_eq!(put.rows_affected(), 1);
}

/// Asserts that GetMessage of the row fails with INTERNAL, that the answer has no details, and that `cause` is logged
/// once.
async fn assert_does_not_open(stack: &Stack, person: &Person, row: Uuid, cause: &str) {
    let logged = |log: String| log.matches(cause).count();
    let before = logged(stack.data.output().unwrap());
    let request = GetMessageRequest {
        message_id: row.to_string(),
    };
    let mut conversation = stack.user(person).unwrap().conversation();
    let status = conversation.get_message(request).await.unwrap_err();
    assert_eq!(
        (reason(&status).as_str(), status.code()),
        ("INTERNAL", Code::Internal)
    );
    let answer = format!("{status:?}");
    for private in [cause, "gAAAA", "message_text", "the message with number"] {
        assert!(!answer.contains(private), "{private} is in {answer}");
    }
    // Lines are written within milliseconds.
    eventually("the cause is logged", async || {
        logged(stack.data.output().unwrap()) > before
    })
    .await;
    assert_eq!(
        logged(stack.data.output().unwrap()),
        before + 1,
        "the cause is logged once"
    );
}

#[tokio::test]
async fn a_moved_token_does_not_open() {
    const MISPLACED: &str = "the sealed text belongs to another person, row or field";
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let old = own_keys(&stack);
    let of_ada = seed(&stack, &ada, &old, 4).await;
    let of_bob = seed(&stack, &bob, &old, 1).await;

    // Tokens are moved to another row, to another person, and back again.
    swap(&stack, (&ada, of_ada[0]), (&ada, of_ada[1])).await;
    swap(&stack, (&ada, of_ada[2]), (&bob, of_bob[0])).await;
    for row in &of_ada[..3] {
        assert_does_not_open(&stack, &ada, *row, MISPLACED).await;
    }
    assert_does_not_open(&stack, &bob, of_bob[0], MISPLACED).await;
    swap(&stack, (&ada, of_ada[0]), (&ada, of_ada[1])).await;
    let request = GetMessageRequest {
        message_id: of_ada[0].to_string(),
    };
    let read = stack
        .user(&ada)
        .unwrap()
        .conversation()
        .get_message(request)
        .await;
    let read = read.unwrap().into_inner().message.unwrap();
    assert_eq!(read.text, seeded_text(1));

    // A token is moved from another field of the same row of the same person.
    let owner = UserId::new(ada.id);
    let details = seal(&ring(&old), analysis::cell(owner, of_ada[3]), "{}");
    replace(&stack, &ada, of_ada[3], &details).await;
    assert_does_not_open(&stack, &ada, of_ada[3], MISPLACED).await;

    // A token is moved from a row with the same id of another person.
    let of_another = Cell {
        owner: UserId::new(bob.id),
        ..message::cell(owner, of_ada[0])
    };
    replace(
        &stack,
        &ada,
        of_ada[0],
        &seal(&ring(&old), of_another, "the message with number 1"),
    )
    .await;
    assert_does_not_open(&stack, &ada, of_ada[0], MISPLACED).await;
}

/// A rotation names the rows that do not open and leaves them unchanged; all other rows are sealed again.
#[tokio::test]
async fn a_rotation_names_the_rows_that_do_not_open_and_continues() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let old = own_keys(&stack);
    let of_ada = seed(&stack, &ada, &old, 250).await;
    let of_bob = seed(&stack, &bob, &old, 2).await;
    swap(&stack, (&ada, of_ada[0]), (&ada, of_ada[249])).await;
    let mut damaged = seal(
        &ring(&old),
        message::cell(UserId::new(bob.id), of_bob[1]),
        "the message with number 2",
    );
    damaged.token.replace_range(40..44, "AAAA");
    replace(&stack, &bob, of_bob[1], &damaged).await;

    let both = format!("{},{old}", new_key());
    // A second rotation names the same rows, and seals none.
    for sealed in [249, 0] {
        let rotation = keys(&stack, &both, "rotate").await;
        assert_eq!(rotation.code, Some(1), "{rotation:?}");
        assert!(
            rotation.stderr.contains("3 rows cannot be opened"),
            "{rotation:?}"
        );
        let misplaced = "the sealed text belongs to another person, row or field";
        let expected = [
            (&ada, of_ada[0], misplaced),
            (&ada, of_ada[249], misplaced),
            (
                &bob,
                of_bob[1],
                "the sealed text is damaged, or its key has changed",
            ),
        ];
        for (person, row, cause) in expected {
            let line = format!(
                "conversations.message_text of person {}, row {row}: {cause}\n",
                person.id
            );
            assert_eq!(
                rotation.stdout.matches(&line).count(),
                1,
                "{line} is not in {rotation:?}"
            );
        }
        let last = format!("{sealed} of {} rows resealed under `new`\n", sealed + 3);
        assert!(rotation.stdout.ends_with(&last), "{rotation:?}");
        assert!(!rotation.stdout.contains("gAAAA") && !rotation.stdout.contains("with number"));
        assert_eq!(
            (rows_under(&stack, OLD).await, rows_under(&stack, "new").await),
            (3, 249)
        );
    }
}
