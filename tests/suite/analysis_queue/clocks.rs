//! Replicas of data with clocks that differ: leases go by the clock of Postgres.

use std::time::Duration;

use haven_testkit::{Client, Stack, port::Port};

use super::{complete, dead, extend, insert_job, lease, lease_one, lease_request};
use crate::{packages, replica::replica_ahead};

#[tokio::test]
async fn a_replica_with_a_clock_that_is_ahead_ends_no_lease() {
    let Some(faketime) = packages::require(&["libfaketime"]) else {
        return;
    };
    let stack = Stack::start().await.unwrap();
    let ports = [(); 3].map(|()| Port::reserve().unwrap());
    // Longer than a lease.
    let ahead = replica_ahead(&stack.data, &ports, &faketime, 300).await;
    let (certificates, identity) = (&stack.certificates, stack.identity.listeners);
    let other = Client::new(certificates, Some("worker"), identity, ahead.listeners).unwrap();
    let ada = stack.person().await.unwrap();
    insert_job(&stack, &ada, 1).await;

    let worker = stack.service("worker").unwrap();
    let held = lease_one(&worker, &lease_request()).await;
    assert_eq!(lease(&other, &lease_request()).await.unwrap(), []);
    assert_eq!(dead(&other, 0, "").await.unwrap().jobs, []);
    // The lease counts from now by the clock of Postgres, also when it is extended at the other replica.
    extend(&other, &held).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    extend(&worker, &held).await.unwrap();
    complete(&worker, &held).await.unwrap();
}
