//! Both services behind real proxies, with the configuration files of `deploy/proxies`.

mod addresses;
mod browsers;
mod calls;
mod idle_watches;

use std::net::{IpAddr, Ipv4Addr};

use haven_testkit::{
    Client, Stack,
    reverse_proxy::{Kind, ReverseProxy},
};

use crate::packages;

/// Starts every proxy that can be had in front of `stack`.
fn start(stack: &Stack) -> Vec<ReverseProxy> {
    let started =
        Kind::ALL.map(|kind| packages::or_skip(&[kind.package()], ReverseProxy::start(kind, stack)));
    started.into_iter().flatten().collect()
}

/// Returns an address of loopback: a network of its own.
fn loopback(b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, b, c, d))
}

/// Returns a client that calls both services through `proxy`, from `address`.
fn client_from(stack: &Stack, proxy: &ReverseProxy, address: IpAddr) -> Client {
    let listeners = proxy.listeners();
    Client::from_address(&stack.certificates, address, listeners, listeners).unwrap()
}

/// Returns a client that calls both services through `proxy`.
fn client(stack: &Stack, proxy: &ReverseProxy) -> Client {
    client_from(stack, proxy, loopback(0, 0, 1))
}
