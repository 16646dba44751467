//! The NetworkPolicies, against the arrows of the README's picture.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};

use super::overlay::{OVERLAYS, Overlay, items, number, text, texts};

/// The arrows that an overlay's policies let in and out: from, to, port.
struct Arrows {
    ingress: BTreeSet<String>,
    egress: BTreeSet<String>,
}

impl Arrows {
    fn of(overlay: &Overlay) -> Self {
        let (mut ingress, mut egress) = (BTreeSet::new(), BTreeSet::new());
        for policy in overlay.all("NetworkPolicy") {
            let subject = party(&json!({"podSelector": policy["spec"]["podSelector"]}));
            for (direction, peers, arrows) in
                [("ingress", "from", &mut ingress), ("egress", "to", &mut egress)]
            {
                let rules = items(policy, &format!("/spec/{direction}"));
                for (rule, port) in rules
                    .iter()
                    .flat_map(|rule| ports(rule).map(move |port| (rule, port)))
                {
                    let mut others: Vec<String> =
                        items(rule, &format!("/{peers}")).iter().map(party).collect();
                    if others.is_empty() {
                        others.push("any address".to_owned());
                    }
                    for other in others {
                        arrows.insert(match direction {
                            "ingress" => format!("{other} → {subject}:{port}"),
                            _ => format!("{subject} → {other}:{port}"),
                        });
                    }
                }
            }
        }
        Self { ingress, egress }
    }
}

/// Returns the ports of a rule. One without ports allows all.
fn ports(rule: &Value) -> impl Iterator<Item = String> {
    let ports = items(rule, "/ports");
    let all = ports.is_empty().then(|| "*".to_owned());
    let ports = ports
        .iter()
        .map(|port| number(port, "/port").map_or("?".to_owned(), |port| port.to_string()));
    ports.chain(all)
}

/// Returns the name of the pods that a peer selects.
fn party(peer: &Value) -> String {
    let namespace = peer.pointer("/namespaceSelector/matchLabels");
    let pods = peer.pointer("/podSelector/matchLabels");
    let postgres = json!({"podSelector": {
        "matchLabels": {"cnpg.io/cluster": "haven-postgres"},
        // The pods of the pooler have the label too.
        "matchExpressions": [{"key": "cnpg.io/poolerName", "operator": "DoesNotExist"}],
    }});
    if peer == &postgres {
        return "postgres".to_owned();
    }
    let known = [
        (None, json!({"app.kubernetes.io/name": "identity"}), "identity"),
        (None, json!({"app.kubernetes.io/name": "data"}), "data"),
        (None, json!({"app.kubernetes.io/name": "migrate"}), "migrate"),
        (None, json!({"cnpg.io/poolerName": "haven-pooler"}), "pooler"),
        // Callers in the namespace of the services.
        (None, json!({"haven/calls-identity": "true"}), "callers"),
        (None, json!({"haven/calls-data": "true"}), "callers"),
        (
            Some(json!({"haven/callers": "true"})),
            json!({"haven/calls-identity": "true"}),
            "callers",
        ),
        (
            Some(json!({"haven/callers": "true"})),
            json!({"haven/calls-data": "true"}),
            "callers",
        ),
        (
            Some(json!({"kubernetes.io/metadata.name": "monitoring"})),
            json!({"app.kubernetes.io/name": "prometheus"}),
            "Prometheus",
        ),
        (
            Some(json!({"kubernetes.io/metadata.name": "cnpg-system"})),
            json!({"app.kubernetes.io/name": "cloudnative-pg"}),
            "operator",
        ),
        (
            Some(json!({"kubernetes.io/metadata.name": "kube-system"})),
            json!({"k8s-app": "kube-dns"}),
            "DNS",
        ),
    ];
    if peer == &json!({"podSelector": {}}) {
        return "every pod".to_owned();
    }
    let found = known
        .iter()
        .find(|(space, labels, _)| space.as_ref() == namespace && Some(labels) == pods)
        .filter(|_| peer.pointer("/podSelector/matchExpressions").is_none());
    found.map_or_else(|| peer.to_string(), |(.., name)| (*name).to_owned())
}

/// The arrows of the README's picture into pods of the namespace.
const INTO: [&str; 17] = [
    "Prometheus → data:9102",
    "Prometheus → identity:9101",
    "Prometheus → pooler:9127",
    "Prometheus → postgres:9187",
    "callers → data:50052",
    "callers → identity:50051",
    "data → identity:50051",
    "data → pooler:5432",
    "data → postgres:5432",
    "identity → data:50052",
    "identity → pooler:5432",
    "migrate → postgres:5432",
    "operator → postgres:5432",
    "operator → postgres:8000",
    "pooler → postgres:5432",
    "postgres → postgres:5432",
    "postgres → postgres:8000",
];

/// The arrows out of the namespace. CloudNativePG's pods call the Kubernetes API and the object store.
const OUT: [&str; 5] = [
    "every pod → DNS:53",
    "pooler → any address:443",
    "pooler → any address:6443",
    "postgres → any address:443",
    "postgres → any address:6443",
];

#[test]
fn policies_allow_the_arrows_of_the_picture_and_no_others() -> Result<()> {
    let set = |arrows: &[&str]| {
        arrows
            .iter()
            .map(|arrow| (*arrow).to_owned())
            .collect::<BTreeSet<_>>()
    };
    for name in OVERLAYS {
        let overlay = Overlay::read(name)?;
        let arrows = Arrows::of(&overlay);
        assert_eq!(arrows.ingress, set(&INTO), "{name}");
        // What one pod may receive from another, the other may send.
        let outside = ["Prometheus", "operator"];
        let inside = INTO
            .iter()
            .filter(|arrow| !outside.iter().any(|party| arrow.starts_with(party)));
        let mut expected: BTreeSet<_> = inside.map(|arrow| (*arrow).to_owned()).collect();
        expected.extend(set(&OUT));
        assert_eq!(arrows.egress, expected, "{name}");
        let denying = overlay.one("NetworkPolicy", "default-deny")?;
        assert_eq!(denying["spec"]["podSelector"], json!({}), "{name}");
        for policy in overlay.all("NetworkPolicy") {
            let types = texts(policy, "/spec/policyTypes");
            let only_out = ["dns", "calls-identity", "calls-data"].contains(&text(policy, "/metadata/name"));
            assert_eq!(types.contains(&"Ingress"), !only_out, "{name}: {policy}");
            assert!(types.contains(&"Egress"), "{name}: {policy}");
        }
    }
    Ok(())
}
