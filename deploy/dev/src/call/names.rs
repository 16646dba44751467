//! Finds what a developer means by a name.

use anyhow::Result;

use super::{
    contracts::{Contracts, Rpc},
    failure::Usage,
};

/// The number of near names that an error lists.
const NEAR_NAMES: usize = 5;

/// Two names are near if their similarity (Jaro and Winkler) is at least this.
const SIMILARITY: f64 = 0.8;

/// Returns the RPC that `name` names: `SignUp`, `AccountService/SignUp` or `haven.identity.v1.AccountService/SignUp`. Upper
/// and lower case, `-` and `_` are ignored.
pub(crate) fn rpc(contracts: &Contracts, name: &str) -> Result<Rpc> {
    let wanted = plain(name);
    let mut found: Vec<Rpc> = contracts
        .rpcs()
        .into_iter()
        .filter(|rpc| is_suffix(&plain(&rpc.full_name()), &wanted))
        .collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let names = contracts.rpcs().into_iter().map(|rpc| rpc.name());
            Err(unknown("RPC", name, names, "cargo dev call --list"))
        }
        _ => {
            let names: Vec<_> = found.iter().map(Rpc::name).collect();
            Err(Usage::error(format!(
                "{name} is ambiguous: write {}",
                names.join(" or ")
            )))
        }
    }
}

/// Returns an error about an unknown name, with the names that resemble it, and the command that lists all.
pub(crate) fn unknown(
    noun: &str,
    name: &str,
    all: impl Iterator<Item = String>,
    command: &str,
) -> anyhow::Error {
    let near = near(name, all);
    let hint = match near.len() {
        0 => String::new(),
        _ => format!("\nNear names: {}", near.join(", ")),
    };
    Usage::error(format!("there is no {noun} {name}: `{command}` shows all{hint}"))
}

/// Returns the names in `all` that resemble `name`, the nearest first. Only the parts of a name that `name` has are
/// compared: an RPC without its service is compared with RPCs without theirs.
pub(crate) fn near(name: &str, all: impl Iterator<Item = String>) -> Vec<String> {
    let wanted = plain(name);
    let parts = wanted.matches('/').count() + 1;
    let mut scored: Vec<(f64, String)> = all
        .map(|candidate| {
            let compared = plain(&candidate);
            let skip = (compared.matches('/').count() + 1).saturating_sub(parts);
            let compared = compared.splitn(skip + 1, '/').last().unwrap_or_default();
            let contained = compared.contains(&wanted) || wanted.contains(compared);
            let bonus = if contained && wanted.len() > 2 { 1.0 } else { 0.0 };
            (strsim::jaro_winkler(compared, &wanted) + bonus, candidate)
        })
        .filter(|(score, _)| *score >= SIMILARITY)
        .collect();
    scored.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    scored.truncate(NEAR_NAMES);
    scored.into_iter().map(|(_, name)| name).collect()
}

/// Returns `name` in lower case, without `-` and `_`, and with `/` between all its parts.
pub(crate) fn plain(name: &str) -> String {
    let name = name.trim_matches('/').replace(['-', '_'], "");
    name.replace('.', "/").to_lowercase()
}

/// Returns `true` if the last parts of `name` are those of `wanted`. The suffix `Service` of a service may be missing.
pub(crate) fn is_suffix(name: &str, wanted: &str) -> bool {
    let mut parts = name.rsplit('/');
    wanted.rsplit('/').all(|wanted| {
        let part = parts.next();
        part.is_some_and(|part| part == wanted || part.strip_suffix("service") == Some(wanted))
    })
}
