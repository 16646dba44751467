//! The size of failure details: every failure passes proxies and clients that limit headers.
//!
//! [`crate::status::reason`] checks the size of each failure that any test sees.

mod forms;
mod nginx;
mod through_nginx;
