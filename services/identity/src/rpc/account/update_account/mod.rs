//! UpdateAccount.

pub(in crate::rpc) mod parse;
