//! The addresses that a service listens on.

use std::net::SocketAddr;

use clap::Args;

use super::{AuthMode, ConfigProblems, Environment};

/// The flags of the listeners.
#[derive(Args, Clone, Debug)]
pub struct ListenerArgs {
    /// The kind of installation: `development` only logs a warning where `production` refuses to start
    #[arg(
        long,
        env = "ENVIRONMENT",
        value_name = "production|development",
        default_value = "production"
    )]
    pub environment: String,
    /// The address of the API listener, TLS [default: 127.0.0.1 and the service's port]
    #[arg(
        long,
        env = "API_ADDR",
        value_name = "ADDR:PORT",
        default_value = "",
        hide_default_value = true
    )]
    pub api_addr: String,
    /// The address of the listener for grpc.health.v1, plain text, for the kubelet's probes [default: 127.0.0.1 and the
    /// service's health port]
    #[arg(
        long,
        env = "HEALTH_ADDR",
        value_name = "ADDR:PORT",
        default_value = "",
        hide_default_value = true
    )]
    pub health_addr: String,
    /// The address of the Prometheus metrics listener, HTTP [default: 127.0.0.1 and the service's metrics port]
    #[arg(
        long,
        env = "METRICS_ADDR",
        value_name = "ADDR:PORT",
        default_value = "",
        hide_default_value = true
    )]
    pub metrics_addr: String,
    /// The way users authenticate: `local` trusts the header x-user-id and requires every listener on loopback
    #[arg(long, env = "AUTH_MODE", value_name = "token|local", default_value = "token")]
    pub auth_mode: String,
}

/// The addresses that a service listens on, and the way users authenticate.
#[derive(Clone, Copy, Debug)]
pub struct Listeners {
    /// The kind of installation.
    pub environment: Environment,
    /// The address of the API listener, TLS.
    pub api: SocketAddr,
    /// The address of the health listener, plain text.
    pub health: SocketAddr,
    /// The address of the metrics listener, HTTP.
    pub metrics: SocketAddr,
    /// The way users authenticate.
    pub auth_mode: AuthMode,
}

impl ListenerArgs {
    /// Checks the flags. `ports` are the service's default ports for API, health and metrics.
    pub fn check(&self, problems: &mut ConfigProblems, ports: [u16; 3]) -> Option<Listeners> {
        let mut addr = |name, value: &str, port| {
            if value.is_empty() {
                return Some(SocketAddr::from(([127, 0, 0, 1], port)));
            }
            problems.parse(name, value)
        };
        let api = addr("API_ADDR", &self.api_addr, ports[0]);
        let health = addr("HEALTH_ADDR", &self.health_addr, ports[1]);
        let metrics = addr("METRICS_ADDR", &self.metrics_addr, ports[2]);
        let environment = problems.one_of("ENVIRONMENT", &self.environment);
        let auth_mode = problems.one_of("AUTH_MODE", &self.auth_mode);
        let listeners = Listeners {
            environment: environment?,
            api: api?,
            health: health?,
            metrics: metrics?,
            auth_mode: auth_mode?,
        };
        if listeners.auth_mode == AuthMode::Local && !listeners.are_loopback() {
            problems.add(
                "AUTH_MODE",
                "can be `local` only when every listener is on a loopback address",
            );
        }
        Some(listeners)
    }
}

impl Listeners {
    fn are_loopback(&self) -> bool {
        [self.api, self.health, self.metrics]
            .iter()
            .all(|addr| addr.ip().is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(auth_mode: &str, api_addr: &str) -> ListenerArgs {
        ListenerArgs {
            environment: "development".into(),
            api_addr: api_addr.into(),
            health_addr: String::new(),
            metrics_addr: String::new(),
            auth_mode: auth_mode.into(),
        }
    }

    #[test]
    fn local_mode_requires_loopback_listeners() {
        for (mode, addr, fine) in [
            ("local", "127.0.0.1:1", true),
            ("local", "[::1]:1", true),
            ("local", "0.0.0.0:1", false),
            ("local", "10.0.0.1:1", false),
            ("token", "0.0.0.0:1", true),
            ("trust", "127.0.0.1:1", false),
        ] {
            let mut problems = ConfigProblems::new();
            let listeners = args(mode, addr).check(&mut problems, [1, 2, 3]);
            assert_eq!(problems.finish(listeners).is_ok(), fine, "{mode} on {addr}");
        }
    }
}
