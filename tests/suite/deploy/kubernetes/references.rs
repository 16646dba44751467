//! The names, ports and labels by which the documents of an overlay find each other.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use haven_platform::allowed_services::AllowedServices;
use serde_json::{Value, json};

use super::{
    overlay::{NAMESPACE, OVERLAYS, Overlay, items, number, selects, text, texts},
    pod::containers,
    pod_rules::{self, variable},
};

/// Returns everything in `overlay` that leads nowhere, one sentence each.
fn dangling(overlay: &Overlay) -> Vec<String> {
    let mut faults = Vec::new();
    pod_rules::check(overlay, &mut faults);
    services(overlay, &mut faults);
    owners(overlay, &mut faults);
    names(overlay, &mut faults);
    faults
}

/// Each Service and what selects it.
fn services(overlay: &Overlay, faults: &mut Vec<String>) {
    for service in overlay.all("Service") {
        let name = text(service, "/metadata/name");
        if service["spec"]["clusterIP"] != "None" {
            faults.push(format!("Service {name} is not headless"));
        }
        let Some(pod) = selected(overlay, &service["spec"]["selector"]) else {
            faults.push(format!("Service {name} selects no pod"));
            continue;
        };
        for port in items(service, "/spec/ports") {
            let target = text(port, "/targetPort");
            let declared = containers(pod)
                .flat_map(|container| items(container, "/ports"))
                .find(|declared| declared["name"] == target);
            // A headless Service maps no ports: clients connect to the port of the pod.
            if declared.is_none_or(|declared| declared["containerPort"] != port["port"]) {
                faults.push(format!("Service {name}: the port {port} is not one of its pods'"));
            }
        }
    }
    for monitor in overlay.all("ServiceMonitor") {
        let name = text(monitor, "/metadata/name");
        let mut services = overlay.all("Service").filter(|service| {
            selects(
                &monitor["spec"]["selector"]["matchLabels"],
                &service["metadata"]["labels"],
            )
        });
        let Some(service) = services.next() else {
            faults.push(format!("ServiceMonitor {name} selects no Service"));
            continue;
        };
        for endpoint in items(monitor, "/spec/endpoints") {
            let mut ports = items(service, "/spec/ports").iter();
            if !ports.any(|port| port["name"] == endpoint["port"] && endpoint["port"] == "metrics") {
                faults.push(format!("ServiceMonitor {name}: no port {}", endpoint["port"]));
            }
        }
    }
}

/// Budgets, autoscalers and spreads, which name a Deployment or the labels of its pods.
fn owners(overlay: &Overlay, faults: &mut Vec<String>) {
    for scaler in overlay.all("HorizontalPodAutoscaler") {
        let target = text(scaler, "/spec/scaleTargetRef/name");
        match overlay.one("Deployment", target) {
            Ok(deployment) if deployment["spec"].get("replicas").is_none() => {}
            Ok(_) => faults.push(format!(
                "{target}: `replicas` would undo what the autoscaler does"
            )),
            Err(_) => faults.push(format!("the autoscaler scales {target:?}, which does not exist")),
        }
    }
    for deployment in overlay.all("Deployment") {
        let (name, pod) = (
            text(deployment, "/metadata/name"),
            &deployment["spec"]["template"],
        );
        let labels = &pod["metadata"]["labels"];
        if !selects(&deployment["spec"]["selector"]["matchLabels"], labels) {
            faults.push(format!("Deployment {name} does not select its pods"));
        }
        for spread in items(pod, "/spec/topologySpreadConstraints") {
            if !selects(&spread["labelSelector"]["matchLabels"], labels) {
                faults.push(format!("{name}: a spread does not select its pods"));
            }
        }
        let mut budgets = overlay.all("PodDisruptionBudget");
        if !budgets.any(|budget| selects(&budget["spec"]["selector"]["matchLabels"], labels)) {
            faults.push(format!("{name} has no PodDisruptionBudget"));
        }
    }
}

/// The DNS names: of callers, of the services and of Postgres, against the certificates.
fn names(overlay: &Overlay, faults: &mut Vec<String>) {
    let mut certificates = BTreeMap::new();
    for certificate in overlay
        .all("Certificate")
        .filter(|certificate| certificate["spec"]["isCA"] != true)
    {
        let names: BTreeSet<&str> = texts(certificate, "/spec/dnsNames").into_iter().collect();
        certificates.insert(
            text(certificate, "/metadata/name"),
            (names, texts(certificate, "/spec/usages")),
        );
    }
    for deployment in overlay.all("Deployment") {
        let name = text(deployment, "/metadata/name");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let admitted = variable(container, "ALLOWED_SERVICES").unwrap_or_default();
        if let Err(problems) = AllowedServices::parse(admitted) {
            faults.push(format!("{name}: ALLOWED_SERVICES: {problems:?}"));
        }
        for caller in admitted
            .split(';')
            .map(|entry| entry.split('=').next().unwrap_or_default())
        {
            let holders = certificates
                .values()
                .filter(|(names, usages)| names.contains(caller) && usages.contains(&"client auth"));
            if holders.count() != 1 {
                faults.push(format!(
                    "{name} admits {caller:?}, which is not the name of one certificate"
                ));
            }
        }
        for url in ["DATA_URL", "IDENTITY_URL"] {
            let Some(address) = variable(container, url).and_then(|url| url.strip_prefix("https://")) else {
                continue;
            };
            let (host, port) = address.split_once(':').unwrap_or((address, ""));
            let service = host.split('.').next().unwrap_or_default();
            let named = certificates
                .get(service)
                .is_some_and(|(names, usages)| names.contains(host) && usages.contains(&"server auth"));
            let mut ports = items(
                overlay.one("Service", service).unwrap_or(&Value::Null),
                "/spec/ports",
            )
            .iter();
            let there = ports
                .any(|declared| declared["name"] == "api" && number(declared, "/port") == port.parse().ok());
            if host != format!("{service}.{NAMESPACE}.svc") || !named || !there {
                faults.push(format!(
                    "{name}: {url} is {address}, which no service of the overlay has"
                ));
            }
        }
    }
    let pooler = overlay
        .all("Pooler")
        .next()
        .map_or("", |pooler| text(pooler, "/metadata/name"));
    let cluster = overlay.all("Cluster").next().unwrap_or(&Value::Null);
    let pooler = format!("{pooler}.{NAMESPACE}.svc");
    if !texts(cluster, "/spec/certificates/serverAltDNSNames").contains(&pooler.as_str()) {
        faults.push(format!(
            "the certificate of Postgres has no name {pooler}, which the services connect to"
        ));
    }
    let psql = overlay
        .pod("migrate")
        .map_or("", |pod| text(pod, "/spec/initContainers/0/image"));
    if psql != text(cluster, "/spec/imageName") {
        faults.push(format!(
            "the Job runs the psql of {psql}, which is not the Cluster's image"
        ));
    }
}

fn selected<'a>(overlay: &'a Overlay, selector: &Value) -> Option<&'a Value> {
    let mut pods = overlay.pods();
    pods.find(|(_, pod)| selects(selector, &pod["metadata"]["labels"]))
        .map(|(_, pod)| pod)
}

#[test]
fn everything_that_the_overlays_name_exists() -> Result<()> {
    for name in OVERLAYS {
        assert_eq!(dangling(&Overlay::read(name)?), Vec::<String>::new(), "{name}");
    }
    Ok(())
}

#[test]
fn a_name_that_leads_nowhere_is_found() -> Result<()> {
    const POD: &str = "/spec/template/spec";
    const CONTAINER: &str = "/spec/template/spec/containers/0";
    let changes = [
        (
            "Deployment",
            "identity",
            format!("{CONTAINER}/startupProbe/grpc/port"),
            json!(50062),
        ),
        (
            "Deployment",
            "identity",
            format!("{CONTAINER}/readinessProbe/grpc/service"),
            json!("haven.identity.v1.Account"),
        ),
        (
            "Deployment",
            "data",
            format!("{CONTAINER}/livenessProbe/grpc"),
            json!({"port": 50062, "service": "haven.data.v1.ConversationService"}),
        ),
        (
            "Deployment",
            "data",
            format!("{CONTAINER}/securityContext/readOnlyRootFilesystem"),
            json!(false),
        ),
        (
            "Deployment",
            "data",
            format!("{CONTAINER}/resources/limits"),
            json!({"cpu": "1"}),
        ),
        (
            "Deployment",
            "data",
            format!("{POD}/terminationGracePeriodSeconds"),
            json!(20),
        ),
        (
            "Deployment",
            "data",
            format!("{POD}/serviceAccountName"),
            json!("default"),
        ),
        (
            "Deployment",
            "data",
            format!("{POD}/automountServiceAccountToken"),
            json!(true),
        ),
        (
            "Deployment",
            "data",
            format!("{POD}/securityContext/seccompProfile/type"),
            json!("Unconfined"),
        ),
        (
            "Deployment",
            "data",
            "/spec/strategy/rollingUpdate/maxUnavailable".to_owned(),
            json!(1),
        ),
        (
            "Deployment",
            "data",
            "/spec/template/metadata/labels/app.kubernetes.io~1name".to_owned(),
            json!("date"),
        ),
        (
            "Service",
            "identity",
            "/spec/ports/0/port".to_owned(),
            json!(50052),
        ),
        (
            "Service",
            "identity",
            "/spec/ports/1/targetPort".to_owned(),
            json!("metric"),
        ),
        ("Service", "identity", "/spec/clusterIP".to_owned(), json!("")),
        (
            "ServiceMonitor",
            "data",
            "/spec/endpoints/0/port".to_owned(),
            json!("api"),
        ),
        (
            "ServiceMonitor",
            "data",
            "/spec/selector/matchLabels/app.kubernetes.io~1name".to_owned(),
            json!("dat"),
        ),
        (
            "HorizontalPodAutoscaler",
            "data",
            "/spec/scaleTargetRef/name".to_owned(),
            json!("dat"),
        ),
        (
            "PodDisruptionBudget",
            "data",
            "/spec/selector/matchLabels/app.kubernetes.io~1name".to_owned(),
            json!("dat"),
        ),
        (
            "Certificate",
            "backend",
            "/spec/dnsNames/0".to_owned(),
            json!("backend.other.svc"),
        ),
        (
            "Certificate",
            "data",
            "/spec/dnsNames/0".to_owned(),
            json!("data.other.svc"),
        ),
        (
            "Certificate",
            "analysis-worker",
            "/spec/usages/1".to_owned(),
            json!("server auth"),
        ),
        (
            "Cluster",
            "haven-postgres",
            "/spec/certificates/serverAltDNSNames".to_owned(),
            json!(["haven-pooler"]),
        ),
        (
            "Cluster",
            "haven-postgres",
            "/spec/imageName".to_owned(),
            json!("ghcr.io/cloudnative-pg/postgresql:17.12"),
        ),
    ];
    for (kind, name, pointer, value) in changes {
        let mut overlay = Overlay::read("production")?;
        overlay.set(kind, name, &pointer, value)?;
        assert!(!dangling(&overlay).is_empty(), "{kind} {name} {pointer}");
    }
    Ok(())
}
