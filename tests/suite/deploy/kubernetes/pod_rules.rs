//! The rules that every pod of an overlay satisfies: what it may do, its probes, and the time that it has to stop.

use haven_testkit::service::grpc_services;
use serde_json::{Value, json};

use super::{
    overlay::{Overlay, items, number, text},
    pod::containers,
};

/// Adds a sentence for each rule that a pod breaks.
pub(super) fn check(overlay: &Overlay, faults: &mut Vec<String>) {
    for (owner, pod) in overlay.pods() {
        let account = text(pod, "/spec/serviceAccountName");
        if overlay.one("ServiceAccount", account).is_err() {
            faults.push(format!("{owner}: no ServiceAccount {account:?}"));
        }
        if pod["spec"]["automountServiceAccountToken"] != false {
            faults.push(format!("{owner}: a service account token is mounted"));
        }
        let pod_context = &pod["spec"]["securityContext"];
        if pod_context["runAsNonRoot"] != true
            || text(pod_context, "/seccompProfile/type") != "RuntimeDefault"
        {
            faults.push(format!("{owner}: the pod is not restricted"));
        }
        for container in containers(pod) {
            let context = &container["securityContext"];
            let name = text(container, "/name");
            if context["readOnlyRootFilesystem"] != true
                || context["allowPrivilegeEscalation"] != false
                || context["capabilities"] != json!({"drop": ["ALL"]})
            {
                faults.push(format!("{owner}: the container {name} is not restricted"));
            }
            for kind in ["requests", "limits"] {
                for resource in ["cpu", "memory"] {
                    if container["resources"][kind].get(resource).is_none() {
                        faults.push(format!("{owner}: {name} has no {kind} of {resource}"));
                    }
                }
            }
        }
    }
    for deployment in overlay.all("Deployment") {
        probes(deployment, faults);
        stopping(deployment, faults);
    }
}

/// The probes ask the health port: about life without the database, about readiness with it.
fn probes(deployment: &Value, faults: &mut Vec<String>) {
    let name = text(deployment, "/metadata/name");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let health = variable(container, "HEALTH_ADDR").and_then(port_of);
    let known = grpc_services(name).unwrap_or_default();
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let asked = number(container, &format!("/{probe}/grpc/port"));
        if asked.is_none() || asked != health {
            faults.push(format!("{name}: {probe} asks the port {asked:?}, not {health:?}"));
        }
        let service = text(container, &format!("/{probe}/grpc/service"));
        if service.is_empty() == (probe == "readinessProbe") {
            faults.push(format!("{name}: {probe} asks for {service:?}"));
        }
        if !service.is_empty() && !known.iter().any(|known| known == service) {
            faults.push(format!(
                "{name}: {probe} asks for {service}, which does not exist"
            ));
        }
    }
}

/// A pod is killed only after it has drained, and an update stops none before its successor is ready.
fn stopping(deployment: &Value, faults: &mut Vec<String>) {
    let name = text(deployment, "/metadata/name");
    let pod = &deployment["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    let drain = variable(container, "DRAIN_TIMEOUT").and_then(|drain| drain.strip_suffix('s')?.parse().ok());
    let before = number(container, "/lifecycle/preStop/sleep/seconds").unwrap_or(0);
    let grace = number(pod, "/spec/terminationGracePeriodSeconds").unwrap_or(0);
    // Two seconds for background tasks, and some for the machine.
    if drain.is_none_or(|drain: u16| grace < before + drain + 5) {
        faults.push(format!(
            "{name}: is killed after {grace} s, before it has drained"
        ));
    }
    let update = &deployment["spec"]["strategy"]["rollingUpdate"];
    if update != &json!({"maxUnavailable": 0, "maxSurge": 1}) {
        faults.push(format!("{name}: an update makes pods unavailable: {update}"));
    }
}

/// Returns the value of a variable of a container.
pub(super) fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let mut variables = items(container, "/env").iter();
    variables.find(|variable| variable["name"] == name)?["value"].as_str()
}

fn port_of(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}
