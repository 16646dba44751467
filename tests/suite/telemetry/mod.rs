//! What operators see: metrics, one line for each call, and traces across both services.

mod collector;
mod lines;
mod logs;
mod pages;
mod panics;
mod traces;
