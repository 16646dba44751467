//! The setting of the origins of pages.

use clap::Args;

use super::ConfigProblems;
use crate::web_origins::WebOrigins;

/// The flag of origins.
#[derive(Args, Clone, Debug)]
pub struct WebArgs {
    /// The exact origins of the pages that may call from a browser, in gRPC-Web; without any, gRPC-Web, CORS and HTTP/1.1
    /// are not served
    #[arg(long, env = "WEB_ORIGINS", value_name = "ORIGIN,…")]
    pub web_origins: Option<String>,
}

impl WebArgs {
    /// Checks the flag, and adds what is wrong to `problems`.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<WebOrigins> {
        let list = self.web_origins.as_deref().unwrap_or_default();
        let wrong = match WebOrigins::parse(list) {
            Ok(origins) => return Some(origins),
            Err(wrong) => wrong,
        };
        for problem in wrong {
            problems.add("WEB_ORIGINS", problem);
        }
        None
    }
}
