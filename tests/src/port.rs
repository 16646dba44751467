//! Ports that nobody else on the machine has.

use std::{
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
};

use anyhow::{Result, bail};

/// Below the range that Linux takes the ports of outgoing connections from, which could otherwise be ours.
const RANGE: Range<u16> = 20_000..32_000;

/// A TCP port on loopback that no other test, in this process or another, is given while this value lives.
pub struct Port {
    number: u16,
    // An abstract socket named after the port: bound by one process at a time, and gone with it.
    _lock: UnixListener,
}

impl Port {
    /// Finds a free port and keeps it.
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

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Can somebody listen on this port of loopback now?
pub fn free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}
