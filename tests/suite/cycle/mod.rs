//! `haven.data.v1.CycleService`: encrypted records, the changes that devices push, and the change feed.

pub(crate) mod changes;
pub(crate) mod feed;
mod records;
