//! `haven.data.v1.PersonService`: the export of a person's data. ProvisionUser and EraseUser are tested with the
//! accounts that they belong to.

pub(crate) mod export_data;
