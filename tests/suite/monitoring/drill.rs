//! The drill: what an outage does to alerts, end to end. The rules are those that ship, with shorter waits: see
//! [`super::monitored`].

use std::time::Duration;

use serde_json::Value;

use super::{monitored::Monitored, notifications::Notification};
use crate::eventually::within;

/// The time from a change to its notification: a few scrapes, evaluations and groupings of seconds.
const LIMIT: Duration = Duration::from_secs(90);

/// Waits for a notification.
async fn notified(monitored: &Monitored, path: &str, status: &str, alert: &str) {
    let what = format!("{alert} {status} at {path}");
    within(LIMIT, &what, async || monitored.receiver.has(path, status, alert)).await;
}

/// Returns the groups of pages, but for those about the machine that the tests run on.
fn pages(all: &[Notification]) -> Vec<Value> {
    let pages = all.iter().filter(|one| one.path == "/page");
    let groups = pages.map(|one| one.body["groupLabels"].clone());
    groups.filter(|group| group["job"] != "node").collect()
}

#[tokio::test]
async fn an_outage_of_data_wakes_the_person_on_call_and_its_end_is_reported() {
    let Some(mut monitored) = Monitored::start().await else {
        return;
    };
    // Nothing has taken a backup of this cluster, which is a ticket and no page.
    notified(&monitored, "/ticket", "firing", "HavenBackupTooOld").await;
    let none = pages(&monitored.receiver.all());
    assert!(none.is_empty(), "nothing is wrong yet: {none:?}");

    monitored.stack.data.kill();
    notified(&monitored, "/page", "firing", "HavenServiceDown").await;
    let page = |status: &str| {
        let all = monitored.receiver.all();
        // Another page can be about the machine that the tests run on.
        let page = all.into_iter().find(|one| {
            one.path == "/page"
                && one.body["status"] == status
                && one.body["groupLabels"]["alertname"] == "HavenServiceDown"
        });
        page.unwrap().body
    };
    let firing = page("firing");
    assert_eq!(firing["groupLabels"]["job"], "data");
    assert_eq!(firing["commonLabels"]["severity"], "page");
    let url = &firing["commonAnnotations"]["runbook_url"];
    assert_eq!(url, "deploy/runbook.md#havenservicedown");

    monitored.stack.data.start().await.unwrap();
    notified(&monitored, "/page", "resolved", "HavenServiceDown").await;
    let pages = pages(&monitored.receiver.all());
    assert!(pages.iter().all(|group| group["job"] == "data"), "{pages:?}");
}

#[tokio::test]
async fn an_outage_of_postgres_holds_back_the_pages_about_the_services_that_need_it() {
    let Some(mut monitored) = Monitored::start().await else {
        return;
    };
    monitored.stack.cluster().unwrap().stop();
    notified(&monitored, "/page", "firing", "HavenPostgresDown").await;
    let not_ready = ("HavenServiceNotReady".to_owned(), "suppressed".to_owned());
    within(LIMIT, "the services are not ready", async || {
        monitored.alerts().await.contains(&not_ready)
    })
    .await;
}
