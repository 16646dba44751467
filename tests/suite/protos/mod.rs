//! The protos as sources for other languages: their options, and the compiler of Debian 12, which is the oldest that reads
//! them.

mod compiler;
mod options;
