//! Calls from browsers: `WEB_ORIGINS`, gRPC-Web, CORS, and connections of HTTP/1.1; and the pages of
//! `deploy/web` in a browser.

mod browser;
mod calls;
mod certificates;
mod connections;
mod limits;
mod origins;
mod pages;
mod preflights;
mod stops;

use haven_platform::config::Requests;
use prost::Message;

use crate::{
    browser::{Browser, Http, ORIGIN},
    platform::probe::{Probe, requests},
};

/// Origins of pages that are not listed, some of them close to one that is; `None` is no origin.
const NOT_LISTED: [Option<&str>; 10] = [
    None,
    Some(""),
    Some("*"),
    Some("null"),
    Some("https://evil.example"),
    Some("http://app.example.org"),
    Some("https://app.example.org:444"),
    Some("https://app.example.org:8443"),
    Some("https://app.example.org.evil.example"),
    Some("https://APP.example.org"),
];

/// The path of an RPC of [`Probe`].
fn path(rpc: &str) -> String {
    format!("/haven.testing.v1.ProbeService/{rpc}")
}

/// Starts a server that serves pages of [`ORIGIN`].
async fn start() -> Probe {
    start_with(requests()).await
}

/// Starts a server that serves pages of [`ORIGIN`], with other limits.
async fn start_with(requests: Requests) -> Probe {
    Probe::start_for_web(requests, ORIGIN).await
}

/// Returns a browser with a page that calls `probe`.
fn browser(probe: &Probe, http: Http) -> Browser {
    Browser::new(&probe.certificates, probe.addr.port(), http)
}

/// Returns the header of a signed-in person.
fn bearer(probe: &Probe) -> String {
    format!("Bearer {}", probe.token(&Probe::claims()))
}

fn encoded(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}
