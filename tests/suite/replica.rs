//! Second replica of a service, in addition to the stack's own.

use haven_testkit::{
    binaries::Binaries,
    environment::{Listeners, Variables},
    package::Package,
    port::Port,
    service::Service,
};

/// Starts another process like `original`, on `ports`: the API, health and metrics port.
pub(crate) async fn replica(original: &Service, ports: &[Port; 3]) -> Service {
    replica_with(original, ports, Variables::new()).await
}

/// Starts another process like `original` with a clock that is `seconds` ahead, or behind when the number is negative. `faketime` is the
/// package `libfaketime`.
pub(crate) async fn replica_ahead(
    original: &Service,
    ports: &[Port; 3],
    faketime: &Package,
    seconds: i32,
) -> Service {
    let library = faketime.libraries().unwrap();
    let library = std::env::split_paths(&library).find_map(|directory| {
        let file = directory.join("faketime/libfaketimeMT.so.1");
        file.exists().then_some(file)
    });
    let library = library.expect("libfaketime").display().to_string();
    let variables = [
        ("LD_PRELOAD", library),
        ("FAKETIME", format!("{seconds:+}s")),
        // Timers go on as before: only the time of day is another one.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    replica_with(original, ports, variables.into()).await
}

async fn replica_with(original: &Service, ports: &[Port; 3], more: Variables) -> Service {
    let [api, health, metrics] = [0, 1, 2].map(|i| ports[i].number());
    let mut variables = original.variables.clone();
    variables.extend(more);
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
