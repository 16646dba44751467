//! Reserved ports.

use std::{collections::HashSet, thread};

use haven_testkit::port::{self, Port};

#[test]
fn no_port_is_reserved_twice() {
    let threads: Vec<_> = (0..8)
        .map(|_| thread::spawn(|| (0..50).map(|_| Port::reserve().unwrap()).collect::<Vec<_>>()))
        .collect();
    let ports: Vec<Port> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    let numbers: HashSet<u16> = ports.iter().map(Port::number).collect();
    assert_eq!(numbers.len(), 400);
    assert!(numbers.iter().all(|number| (20_000..32_000).contains(number)));
}

#[test]
fn a_port_with_a_listener_is_not_free() {
    let port = Port::reserve().unwrap();
    assert!(port::free(port.number()));
    let _listener = std::net::TcpListener::bind(("127.0.0.1", port.number())).unwrap();
    assert!(!port::free(port.number()));
}
