//! Second replica of a service, in addition to the stack's own.

use haven_testkit::{binaries::Binaries, environment::Listeners, port::Port, service::Service};

/// Starts another process like `original`, on `ports`: the API, health and metrics port.
pub(crate) async fn replica(original: &Service, ports: &[Port; 3]) -> Service {
    let [api, health, metrics] = [0, 1, 2].map(|i| ports[i].number());
    let mut variables = original.variables.clone();
    for (name, port) in [
        ("API_ADDR", api),
        ("HEALTH_ADDR", health),
        ("METRICS_ADDR", metrics),
    ] {
        variables.insert(name.to_owned(), format!("127.0.0.1:{port}"));
    }
    let listeners = Listeners { api, health, metrics };
    let name = original.name;
    let binaries = Binaries::build().unwrap();
    let log = original.log().with_file_name("replica.log");
    let mut replica = Service::new(name, binaries.of(name), listeners, variables, &log);
    replica.start().await.unwrap();
    replica
}
