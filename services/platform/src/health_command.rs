//! The subcommand `health`: asks the health listener of the running service, as a probe or as a person.
//!
//! An image without a shell has no other program that could ask. The subcommand needs no secret, no certificate and no
//! database, only the address of the listener.

use std::{
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use clap::Args;
use haven_proto::health::v1::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use prost_reflect::{DescriptorError, DescriptorPool};
use tokio::time::timeout;
use tonic::{Code, Status, transport::Endpoint};

use crate::config::{ConfigError, ConfigProblems, duration};

/// The name that stands for the process.
const PROCESS: &str = "";

/// The flags of `health`.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct HealthArgs {
    /// The address of the health listener of the running service; 0.0.0.0 and [::] stand for loopback [default:
    /// 127.0.0.1 and the service's health port]
    #[arg(
        long,
        env = "HEALTH_ADDR",
        value_name = "ADDR:PORT",
        default_value = "",
        hide_default_value = true
    )]
    health_addr: String,
    /// Ask for this gRPC service only, such as haven.data.v1.ConversationService
    #[arg(
        long,
        group = "question",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    service: String,
    /// Ask whether the process is alive, instead of whether it is ready
    #[arg(long, group = "question")]
    liveness: bool,
    /// The time for all answers
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    timeout: String,
}

const AFTER_HELP: &str = "\
Without a flag it asks for readiness: for each gRPC service of the program.

Exit codes: 0 serving; 1 not serving, or no answer, with the reason in one line; 64 a flag is wrong.";

/// The checked flags.
#[derive(Debug)]
pub(crate) struct Question {
    address: SocketAddr,
    services: Vec<String>,
    limit: Duration,
}

/// The reason why `health` exits with 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unhealthy {
    #[error("not serving: {}", .0.join(", "))]
    NotServing(Vec<String>),
    #[error("{address}: no answer within {limit:?}")]
    TooLate { address: SocketAddr, limit: Duration },
    #[error("{address}: {reason}")]
    Unreachable { address: SocketAddr, reason: String },
}

impl HealthArgs {
    /// Checks the flags. `name` is the program's, `port` its default health port, and `descriptors` declare its gRPC
    /// services.
    pub(crate) fn check(&self, name: &str, port: u16, descriptors: &[u8]) -> Result<Question, ConfigError> {
        let mut problems = ConfigProblems::new();
        let address = match self.health_addr.as_str() {
            "" => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            given => problems.parse("HEALTH_ADDR", given),
        };
        let limit = problems.take("--timeout", duration(&self.timeout));
        let services = problems
            .take("the descriptors of the program", services(name, descriptors))
            .and_then(|all| match self.service.as_str() {
                _ if self.liveness => Some(vec![PROCESS.to_owned()]),
                "" => Some(all),
                asked if all.iter().any(|service| service == asked) => Some(vec![asked.to_owned()]),
                asked => {
                    let all = all.join(", ");
                    problems.add(
                        "--service",
                        format_args!("is {asked:?}, but must be one of {all}"),
                    );
                    None
                }
            });
        let question = (|| {
            Some(Question {
                address: reachable(address?),
                services: services?,
                limit: limit?,
            })
        })();
        problems.finish(question)
    }
}

impl Question {
    /// Asks the listener.
    pub(crate) async fn ask(self) -> Result<(), Unhealthy> {
        let (address, limit) = (self.address, self.limit);
        timeout(limit, self.ask_all())
            .await
            .unwrap_or(Err(Unhealthy::TooLate { address, limit }))
    }

    async fn ask_all(self) -> Result<(), Unhealthy> {
        let address = self.address;
        let unreachable = |reason: String| Unhealthy::Unreachable { address, reason };
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| unreachable(reason(&error)))?
            .connect()
            .await
            .map_err(|error| unreachable(reason(&error)))?;
        let mut client = HealthClient::new(channel);
        let mut not_serving = Vec::new();
        for service in self.services {
            let request = HealthCheckRequest {
                service: service.clone(),
            };
            match client.check(request).await {
                Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => {}
                Ok(_) if service == PROCESS => not_serving.push("the process".to_owned()),
                Ok(_) => not_serving.push(service),
                Err(status) => return Err(unreachable(refusal(&service, &status))),
            }
        }
        match not_serving.is_empty() {
            true => Ok(()),
            false => Err(Unhealthy::NotServing(not_serving)),
        }
    }
}

/// Returns the full names of the gRPC services of the program `name`, sorted.
fn services(name: &str, descriptors: &[u8]) -> Result<Vec<String>, DescriptorError> {
    let pool = DescriptorPool::decode(descriptors)?;
    let package = format!("haven.{name}.");
    let mut services: Vec<_> = pool
        .services()
        .map(|service| service.full_name().to_owned())
        .filter(|service| service.starts_with(&package))
        .collect();
    services.sort();
    Ok(services)
}

/// Returns the address at which a listener on `address` is reached from the same machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Returns what the listener's refusal means.
fn refusal(service: &str, status: &Status) -> String {
    match status.code() {
        Code::NotFound => format!("does not know {service}: another program listens there"),
        Code::Unimplemented => "has no grpc.health.v1: another program listens there".to_owned(),
        _ => reason(status),
    }
}

/// Returns the text of the innermost cause of `error`: of an I/O error its kind, without the number.
fn reason(error: &(dyn Error + 'static)) -> String {
    let mut innermost: &(dyn Error + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<io::Error>() {
        Some(error) => error.kind().to_string(),
        None => innermost.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(health_addr: &str, service: &str) -> HealthArgs {
        HealthArgs {
            health_addr: health_addr.into(),
            service: service.into(),
            liveness: false,
            timeout: "2s".into(),
        }
    }

    fn check(args: &HealthArgs) -> Result<Question, String> {
        args.check("identity", 50061, haven_proto::FILE_DESCRIPTOR_SET)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn readiness_is_that_of_each_grpc_service_of_the_program() {
        let question = check(&args("", "")).unwrap();
        let expected = [
            "haven.identity.v1.AccountService",
            "haven.identity.v1.RecoveryService",
            "haven.identity.v1.SessionService",
        ];
        assert_eq!(question.services, expected);
        assert_eq!(question.address.to_string(), "127.0.0.1:50061");
        let question = check(&args("", expected[2])).unwrap();
        assert_eq!(question.services, expected[2..]);
    }

    #[test]
    fn an_unspecified_address_stands_for_loopback() {
        for (given, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.7:1", "10.0.0.7:1"),
        ] {
            assert_eq!(check(&args(given, "")).unwrap().address.to_string(), expected);
        }
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let mut wrong = args("nowhere", "haven.data.v1.ConversationService");
        wrong.timeout = "2".into();
        let error = check(&wrong).unwrap_err();
        for name in ["HEALTH_ADDR", "--service", "--timeout"] {
            assert!(error.contains(&format!("\n  {name}: ")), "{name}: {error}");
        }
        assert!(
            error.contains("one of haven.identity.v1.AccountService, "),
            "{error}"
        );
    }
}
