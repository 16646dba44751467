//! People without an account, and accounts without a person.

use std::time::{Duration, Instant};

use haven_testkit::database::Database;

use crate::superuser_sql::scalar;

/// The time that identity gets to deliver its outbox to data. After an outage it tries again at the latest after five minutes;
/// while data is down, after five seconds.
pub(super) const DELIVERY: Duration = Duration::from_secs(120);

/// The interval of looking.
const POLL: Duration = Duration::from_millis(100);

/// Lists who is in one schema and not in the other.
const ORPHANS: &str = "
    SELECT coalesce(array_agg(found ORDER BY found), '{}') FROM (
        SELECT 'account ' || id || ' has no person' AS found
        FROM identity.users AS account WHERE NOT EXISTS (SELECT FROM data.users AS person WHERE person.id = account.id)
        UNION ALL
        SELECT 'person ' || id || ' has no account' || CASE WHEN EXISTS
            (SELECT FROM identity.erasures AS erasure WHERE erasure.user_id = person.id) THEN ' and was erased' ELSE '' END
        FROM data.users AS person WHERE NOT EXISTS (SELECT FROM identity.users AS account WHERE account.id = person.id)
        UNION ALL
        SELECT 'erasure ' || user_id || ' is not complete' FROM identity.erasures WHERE completed_at IS NULL
        UNION ALL
        SELECT 'erasure ' || user_id || ' has no receipt in data' FROM identity.erasures AS erasure
        WHERE NOT EXISTS (SELECT FROM data.tombstones AS receipt WHERE receipt.user_id = erasure.user_id)
        UNION ALL
        SELECT 'message ' || id || ' of the outbox is not delivered' FROM identity.outbox
    ) AS orphans";

/// Returns what is left after `delivery`, at the latest.
pub(super) async fn find_orphans(database: &Database, delivery: Duration) -> Vec<String> {
    let limit = Instant::now() + delivery;
    loop {
        let orphans: Vec<String> = scalar(database, ORPHANS).await;
        if orphans.is_empty() || Instant::now() > limit {
            return orphans;
        }
        tokio::time::sleep(POLL).await;
    }
}
