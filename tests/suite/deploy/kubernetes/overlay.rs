//! A rendered overlay of `deploy/kubernetes`, and its documents.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use haven_testkit::workspace;
use serde_json::Value;

/// The overlays.
pub(super) const OVERLAYS: [&str; 2] = ["development", "production"];

/// The namespace of the manifests, which is also in their DNS names.
pub(super) const NAMESPACE: &str = "haven";

/// The documents of a rendered overlay.
#[derive(Clone)]
pub(super) struct Overlay {
    documents: Vec<Value>,
}

impl Overlay {
    /// Reads `rendered/<name>.yaml`.
    pub(super) fn read(name: &str) -> Result<Self> {
        let path = workspace::root()
            .join("deploy/kubernetes/rendered")
            .join(name)
            .with_extension("yaml");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).with_context(|| format!("parsing {}", path.display()))?;
        ensure!(documents.len() > 20, "{} documents", documents.len());
        Ok(Self { documents })
    }

    /// Returns all documents of `kind`.
    pub(super) fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.documents
            .iter()
            .filter(move |document| document["kind"] == kind)
    }

    /// Returns the document of `kind` with this name.
    pub(super) fn one(&self, kind: &str, name: &str) -> Result<&Value> {
        let mut found = self
            .all(kind)
            .filter(|document| document["metadata"]["name"] == name);
        match (found.next(), found.next()) {
            (Some(document), None) => Ok(document),
            _ => bail!("{kind} {name} does not exist exactly once"),
        }
    }

    /// Replaces the value at `pointer` of a document.
    pub(super) fn set(&mut self, kind: &str, name: &str, pointer: &str, value: Value) -> Result<()> {
        let mut documents = self.documents.iter_mut();
        let document = documents
            .find(|document| document["kind"] == kind && document["metadata"]["name"] == name)
            .with_context(|| format!("{kind} {name}"))?;
        *document
            .pointer_mut(pointer)
            .with_context(|| format!("{kind} {name} has no {pointer}"))? = value;
        Ok(())
    }

    /// Returns the pods of all Deployments and Jobs, with the names of their owners.
    pub(super) fn pods(&self) -> impl Iterator<Item = (&str, &Value)> {
        let owners = self.all("Deployment").chain(self.all("Job"));
        owners.map(|owner| (text(owner, "/metadata/name"), &owner["spec"]["template"]))
    }

    /// Returns the pod of the Deployment or Job `name`.
    pub(super) fn pod(&self, name: &str) -> Result<&Value> {
        let mut pods = self.pods().filter(|(owner, _)| *owner == name);
        pods.next()
            .map(|(_, pod)| pod)
            .with_context(|| format!("no pod {name}"))
    }
}

/// Returns the string at `pointer`, or an empty one.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the items at `pointer`, or none.
pub(super) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let items = value.pointer(pointer).and_then(Value::as_array);
    items.map(Vec::as_slice).unwrap_or_default()
}

/// Returns the strings at `pointer`, or none.
pub(super) fn texts<'a>(value: &'a Value, pointer: &str) -> Vec<&'a str> {
    let items = items(value, pointer).iter();
    items.filter_map(Value::as_str).collect()
}

/// Returns the number at `pointer`.
pub(super) fn number(value: &Value, pointer: &str) -> Option<u16> {
    value.pointer(pointer)?.as_u64()?.try_into().ok()
}

/// Returns true if `labels` has every label of `selector`, and `selector` has one at least.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object();
    selector.is_some_and(|selector| {
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    })
}
