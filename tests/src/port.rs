//! Reserves TCP ports for tests.

use std::{
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
};

use anyhow::{Result, bail};

/// The ports to choose from. They are below the range from which Linux takes the ports of outgoing connections.
const RANGE: Range<u16> = 20_000..32_000;

/// A TCP port on loopback. No other test, in this or another process, gets it while this value lives.
pub struct Port {
    number: u16,
    // An abstract socket named after the port. It can be bound once, and is closed with its process.
    _lock: UnixListener,
}

impl Port {
    /// Finds and reserves a free port.
    pub fn reserve() -> Result<Self> {
        let start = rand::random_range(RANGE);
        for number in (start..RANGE.end).chain(RANGE.start..start) {
            let name = SocketAddr::from_abstract_name(format!("haven-port-{number}"))?;
            let Ok(lock) = UnixListener::bind_addr(&name) else {
                continue;
            };
            if free(number) {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("no port from {} to {} is free", RANGE.start, RANGE.end)
    }

    /// Returns the port number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Returns true if the port is free on loopback.
pub fn free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}
