//! `haven.data.v1.PersonService`: export, the audit log of data, provisioning. EraseUser is tested in `account/deletion` with
//! the accounts that are deleted, and in `tokens/erased_people.rs`.

pub(crate) mod export_data;
mod list_audit_events;
mod provision_user;
