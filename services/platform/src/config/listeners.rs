//! Where a service listens.

use std::net::SocketAddr;

use clap::Args;

use super::{AuthMode, ConfigProblems, Environment};

/// The flags.
#[derive(Args, Clone, Debug)]
pub struct ListenerArgs {
    /// What the installation is for: `development` only reports what `production` refuses
    #[arg(
        long,
        env = "ENVIRONMENT",
        value_name = "production|development",
        default_value = "production"
    )]
    pub environment: String,
    /// Where the API listens, with TLS [default: 127.0.0.1 and the service's port]
    #[arg(
        long,
        env = "API_ADDR",
        value_name = "ADDR:PORT",
        default_value = "",
        hide_default_value = true
    )]
    pub api_addr: String,
    /// Where grpc.health.v1 alone listens, in plain text, for the kubelet's probes [default: as above]
    #[arg(
        long,
        env = "HEALTH_ADDR",
        value_name = "ADDR:PORT",
        default_value = "",
        hide_default_value = true
    )]
    pub health_addr: String,
    /// Where Prometheus reads the metrics, over HTTP [default: as above]
    #[arg(
        long,
        env = "METRICS_ADDR",
        value_name = "ADDR:PORT",
        default_value = "",
        hide_default_value = true
    )]
    pub metrics_addr: String,
    /// How people prove who they are: `local` takes anybody's word, and needs every listener on loopback
    #[arg(long, env = "AUTH_MODE", value_name = "token|local", default_value = "token")]
    pub auth_mode: String,
}

/// Where a service listens, and whom it believes.
#[derive(Clone, Copy, Debug)]
pub struct Listeners {
    /// What the installation is for.
    pub environment: Environment,
    /// The API, TLS.
    pub api: SocketAddr,
    /// Health, plain text.
    pub health: SocketAddr,
    /// Metrics, HTTP.
    pub metrics: SocketAddr,
    /// How people prove who they are.
    pub auth_mode: AuthMode,
}

impl ListenerArgs {
    /// Checks the flags; `ports` are the service's own for API, health and metrics.
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
                "may be `local` only while every listener is on a loopback address",
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
    fn anybodys_word_is_taken_on_loopback_alone() {
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
