//! The setting of trusted proxies.

use clap::Args;

use super::ConfigProblems;
use crate::trusted_proxies::TrustedProxies;

/// The flag of trusted proxies.
#[derive(Args, Clone, Debug)]
pub struct ProxyArgs {
    /// The addresses and networks of the proxies in front of this service: connections from them may state the address of
    /// their client in x-forwarded-for
    #[arg(long, env = "TRUSTED_PROXIES", value_name = "CIDR,…")]
    pub trusted_proxies: Option<String>,
}

impl ProxyArgs {
    /// Checks the flag, and adds what is wrong to `problems`.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<TrustedProxies> {
        let list = self.trusted_proxies.as_deref().unwrap_or_default();
        let wrong = match TrustedProxies::parse(list) {
            Ok(proxies) => return Some(proxies),
            Err(wrong) => wrong,
        };
        for problem in wrong {
            problems.add("TRUSTED_PROXIES", problem);
        }
        None
    }
}
