//! The mark of a request from a browser, in its extensions. No header can make it: `web` alone does.

use axum::extract::Request;

/// What becomes of a request from a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FromBrowser {
    /// It was translated from gRPC-Web, and may be served.
    Served,
    /// It must be refused.
    Refused,
}

impl FromBrowser {
    /// Returns the mark of `request`; `None` when it is not from a browser, or browsers are not served.
    pub(super) fn of(request: &Request) -> Option<Self> {
        request.extensions().get().copied()
    }
}
