//! `haven.data.v1.CycleService`: encrypted records, the changes that devices push, and the change feed.

pub(crate) mod changes;
pub(crate) mod feed;
mod records;

use haven_testkit::Stack;

use crate::{superuser_sql::scalar_by_id, test_device::Device};

/// Returns the number of the last change of the person of `device`.
async fn last_change_number(stack: &Stack, device: &Device) -> i64 {
    let sql = "SELECT last_number FROM data.change_counters WHERE user_id = $1";
    scalar_by_id(&stack.database, device.person.id, sql).await
}
