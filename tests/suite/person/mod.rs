//! `haven.data.v1.PersonService`: the export of a person's data.

pub(crate) mod export_data;
