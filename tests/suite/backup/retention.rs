//! The retention: every moment of the last 168 hours stays restorable, and no full backup stays longer than that needs.

use haven_testkit::package::Package;
use serde_json::Value;

use super::{
    archive::{Archive, text},
    start,
};
use crate::packages;

/// The time for which every moment can be restored, in seconds.
const KEPT: i64 = 168 * 3600;

/// Lets backups expire as if it were `now`, in seconds since 1970.
fn expire_at(archive: &Archive, faketime: &Package, now: i64) {
    let library = faketime.libraries().unwrap();
    let library = std::env::split_paths(&library).find_map(|directory| {
        let file = directory.join("faketime/libfaketime.so.1");
        file.exists().then_some(file)
    });
    // Not for the program that changes the user: the library shares memory by the id of its process.
    let mut command = archive.command("env");
    command
        .arg(format!("LD_PRELOAD={}", library.expect("libfaketime").display()))
        .arg(format!("FAKETIME=@{}", timestamp(now)))
        .args(["TZ=UTC", "pgbackrest", "--stanza=haven", "expire"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

/// Formats seconds since 1970 as libfaketime reads them.
fn timestamp(seconds: i64) -> String {
    let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Returns the labels of the backups, and the first segment of the archive.
fn kept(info: &Value) -> (Vec<&str>, &str) {
    let backups = info["backup"].as_array().unwrap();
    let labels = backups.iter().map(|backup| backup["label"].as_str().unwrap());
    (labels.collect(), info["archive"][0]["min"].as_str().unwrap())
}

#[tokio::test]
async fn full_backups_stay_until_the_next_one_is_168_hours_old() {
    let Some((_cluster, _database, archive)) = start().await else {
        return;
    };
    let Some(faketime) = packages::require(&["libfaketime"]) else {
        return;
    };
    for kind in ["full", "diff", "full", "diff"] {
        archive.back_up(kind);
    }
    let before = archive.info();
    let (labels, first) = kept(&before);
    assert_eq!(labels.len(), 4);
    let second = before["backup"][2]["timestamp"]["stop"].as_i64().unwrap();

    // A moment just before the end of the second full backup is 168 hours old, and only the first can restore it.
    expire_at(&archive, &faketime, second + KEPT);
    let still = archive.info();
    assert_eq!(kept(&still), (labels.clone(), first));

    // Now it is older. The first full backup, its differential one and the archive before the second have expired.
    expire_at(&archive, &faketime, second + KEPT + 1);
    let after = archive.info();
    let start = before["backup"][2]["archive"]["start"].as_str().unwrap();
    assert_eq!(kept(&after), (labels[2..].to_vec(), start));
    assert!(first < start);

    // The newest full backup stays, however old it is.
    expire_at(&archive, &faketime, second + 10 * KEPT);
    assert_eq!(kept(&archive.info()), (labels[2..].to_vec(), start));
}
