//! The subcommand `health` of both programs: the answer of a running service in one line, and the exit code.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Command, Output},
    time::{Duration, Instant},
};

use haven_testkit::{
    Stack,
    binaries::Binaries,
    port::Port,
    service::{Service, grpc_services},
};

use crate::eventually::eventually;

/// Runs `health` of the program `name`. Its environment has nothing but HEALTH_ADDR.
async fn health(name: &str, address: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(Binaries::build().unwrap().of(name));
    command
        .arg("health")
        .args(arguments)
        .env_clear()
        .env("HEALTH_ADDR", address);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output {
        status,
        stdout,
        stderr,
    } = run.await.unwrap();
    let text = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.code(), text.trim_end().to_owned())
}

/// Returns the address that `service` listens on, as its environment has it.
fn address(service: &Service) -> &str {
    &service.variables["HEALTH_ADDR"]
}

#[tokio::test]
async fn a_ready_service_is_serving_by_each_name_and_from_each_spelling_of_loopback() {
    let stack = Stack::shared().await.unwrap();
    let serving = (Some(0), "serving".to_owned());
    for service in [&stack.identity, &stack.data] {
        let everywhere = format!("0.0.0.0:{}", service.listeners.health);
        for address in [address(service), &everywhere] {
            assert_eq!(health(service.name, address, &[]).await, serving);
        }
        assert_eq!(
            health(service.name, address(service), &["--liveness"]).await,
            serving
        );
        for name in grpc_services(service.name).unwrap() {
            let answer = health(service.name, address(service), &["--service", &name]).await;
            assert_eq!(answer, serving, "{name}");
        }
    }
}

#[tokio::test]
async fn a_service_without_its_database_is_alive_and_not_serving() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    stack.cluster().unwrap().kill();
    let not_serving = format!(
        "identity: not serving: {}",
        grpc_services("identity").unwrap().join(", ")
    );
    let address = address(&stack.identity);
    eventually("identity reports itself not ready", async || {
        health("identity", address, &[]).await == (Some(1), not_serving.clone())
    })
    .await;
    let account = "haven.identity.v1.AccountService";
    assert_eq!(
        health("identity", address, &["--service", account]).await,
        (Some(1), format!("identity: not serving: {account}"))
    );
    assert_eq!(
        health("identity", address, &["--liveness"]).await,
        (Some(0), "serving".to_owned())
    );
}

#[tokio::test]
async fn a_service_that_does_not_run_refuses_connections() {
    let port = Port::reserve().unwrap();
    let address = format!("127.0.0.1:{}", port.number());
    assert_eq!(
        health("data", &address, &[]).await,
        (Some(1), format!("data: {address}: connection refused"))
    );
}

#[tokio::test]
async fn the_address_of_another_program_is_recognized() {
    let stack = Stack::shared().await.unwrap();
    let address = address(&stack.identity);
    let expected = format!(
        "data: {address}: does not know haven.data.v1.AnalysisQueueService: another program listens there"
    );
    assert_eq!(health("data", address, &[]).await, (Some(1), expected));
}

#[tokio::test]
async fn a_listener_that_does_not_answer_costs_no_more_than_the_timeout() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap().to_string();
    // Building the programs may take minutes, and is not what is measured.
    Binaries::build().unwrap();
    let start = Instant::now();
    let answer = health("data", &address, &["--timeout", "300ms"]).await;
    assert_eq!(
        answer,
        (Some(1), format!("data: {address}: no answer within 300ms"))
    );
    assert!(
        (Duration::from_millis(300)..Duration::from_secs(20)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn wrong_flags_exit_with_64() {
    for (address, arguments, expected) in [
        ("nowhere", &[][..], "HEALTH_ADDR: is \"nowhere\""),
        ("127.0.0.1:1", &["--timeout", "soon"], "--timeout: must be"),
        (
            "127.0.0.1:1",
            &["--service", "x"],
            "--service: is \"x\", but must be one of haven.data.v1.",
        ),
        (
            "127.0.0.1:1",
            &["--liveness", "--service", "x"],
            "cannot be used with",
        ),
    ] {
        let (code, text) = health("data", address, arguments).await;
        assert_eq!(code, Some(64), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}
