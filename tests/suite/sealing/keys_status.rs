//! `data keys status`, and missing keys.

use std::process::Command;

use haven_testkit::{Stack, binaries::Binaries};

use super::{OLD, keys, new_key, own_keys, restart, seed, seed_analysis};

#[tokio::test]
async fn status_counts_the_rows_sealed_under_each_key() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let old = own_keys(&stack);
    let both = format!("{},{old}", new_key());
    seed(&stack, &ada, &old, 3).await;
    seed(&stack, &bob, &both, 2).await;
    seed_analysis(&stack, &ada, &old, "{}").await;
    let status = keys(&stack, &both, "status").await;
    assert_eq!(status.code, Some(0), "{status:?}");
    assert_eq!(
        status.stdout,
        format!(
            "conversations.message_text new                 2 seals\n\
             conversations.message_text {OLD}               3 opens\n\
             analysis_results.details   new                 0 seals\n\
             analysis_results.details   {OLD}               1 opens\n"
        )
    );
}

#[tokio::test]
async fn a_missing_key_stops_the_commands_and_the_service() {
    let mut stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let (old, new) = (own_keys(&stack), new_key());
    seed(&stack, &ada, &old, 3).await;
    let missing = format!("stored texts are sealed under `{OLD}`, missing from MESSAGE_KEYS");

    let status = keys(&stack, &new, "status").await;
    assert_eq!(status.code, Some(1));
    assert!(status.stderr.contains(&missing), "{status:?}");
    let line = format!("conversations.message_text {OLD}               3 missing\n");
    assert!(status.stdout.contains(&line), "{status:?}");

    let rotation = keys(&stack, &new, "rotate").await;
    assert_eq!((rotation.code, rotation.stdout.as_str()), (Some(1), ""));
    assert!(rotation.stderr.contains(&missing), "{rotation:?}");

    let refused = format!(
        "{:#}",
        restart(&mut stack, &new).await.expect_err("the service starts")
    );
    assert!(refused.contains("ended: exit status: 1"), "{refused}");
    assert!(refused.contains(&missing), "{refused}");
    restart(&mut stack, &old).await.unwrap();

    // The service also refuses to start when a key of an analysis's details is missing.
    let both = format!("{new},{old}");
    assert_eq!(keys(&stack, &both, "rotate").await.code, Some(0));
    restart(&mut stack, &new).await.unwrap();
    seed_analysis(&stack, &ada, &old, "{}").await;
    let refused = format!(
        "{:#}",
        restart(&mut stack, &new).await.expect_err("the service starts")
    );
    assert!(refused.contains(&missing), "{refused}");
}

#[tokio::test]
async fn the_commands_name_their_missing_configuration() {
    let binaries = Binaries::build().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binaries.of("data"));
        command.args(arguments).env_clear().output().unwrap()
    };
    for what in ["status", "rotate"] {
        let help = run(&["keys", what, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        let help = String::from_utf8(help.stdout).unwrap();
        for name in ["MESSAGE_KEYS_FILE", "WORKER_DATABASE_URL", "Exit codes"] {
            assert!(help.contains(name), "{name}: {help}");
        }
        let without = run(&["keys", what]);
        assert_eq!(without.status.code(), Some(64));
        let stderr = String::from_utf8(without.stderr).unwrap();
        for name in ["DATABASE_URL", "WORKER_DATABASE_URL", "MESSAGE_KEYS"] {
            assert!(stderr.contains(&format!("\n  {name}: ")), "{name}: {stderr}");
        }
    }
}
