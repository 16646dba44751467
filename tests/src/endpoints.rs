//! The addresses of both services.

use anyhow::Result;

use crate::{certificates::Certificates, client::Client};

/// The ports of the APIs of both services on loopback, and the certificates of their callers. A service with several ports
/// has as many replicas, and a client balances its calls over them.
#[derive(Clone)]
pub struct Endpoints {
    /// The certificates of the callers.
    pub certificates: Certificates,
    /// The ports of identity.
    pub identity: Vec<u16>,
    /// The ports of data.
    pub data: Vec<u16>,
}

impl Endpoints {
    /// Returns a client without an access token, with the client certificate of `service`, if any. It connects on the
    /// first call, and has a connection of its own to each replica.
    pub fn client(&self, service: Option<&str>) -> Result<Client> {
        Client::balanced(&self.certificates, service, &self.identity, &self.data)
    }
}
