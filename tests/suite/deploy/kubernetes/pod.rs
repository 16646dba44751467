//! The containers of a pod, with the contents of what they mount.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{
    overlay::{items, number, text, texts},
    secret_store::SecretStore,
};
use crate::deploy::manifest::Container;

/// Returns the init containers of `pod`, and then its containers.
pub(super) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let first = items(pod, "/spec/initContainers");
    first.iter().chain(items(pod, "/spec/containers"))
}

/// Returns `container` of `pod`, named `name`, with the files that it mounts from `store`.
pub(super) fn container(
    name: &str,
    pod: &Value,
    container: &Value,
    store: &SecretStore,
) -> Result<Container> {
    ensure!(
        container.get("envFrom").is_none(),
        "{name}: `envFrom` would hide the names of variables"
    );
    let env = items(container, "/env").iter().map(|variable| {
        let value = variable["value"]
            .as_str()
            .with_context(|| format!("{name}: {variable} has no plain value; secrets are mounted files"))?;
        Ok((text(variable, "/name").to_owned(), value.to_owned()))
    });
    let owned = |pointer| texts(container, pointer).into_iter().map(str::to_owned);
    let ports = items(container, "/ports").iter();
    Ok(Container {
        name: name.to_owned(),
        image: text(container, "/image").to_owned(),
        command: owned("/command").collect(),
        args: owned("/args").collect(),
        env: env.collect::<Result<_>>()?,
        files: files(name, pod, container, store)?,
        ports: ports.filter_map(|port| number(port, "/containerPort")).collect(),
    })
}

fn files(
    name: &str,
    pod: &Value,
    container: &Value,
    store: &SecretStore,
) -> Result<BTreeMap<std::path::PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for mount in items(container, "/volumeMounts") {
        ensure!(
            mount["readOnly"] == true,
            "{name}: the mount {mount} can be written"
        );
        let volumes = items(pod, "/spec/volumes");
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]);
        let volume = volume.with_context(|| format!("{name}: no volume {}", mount["name"]))?;
        let (source, contents) = match (volume.get("secret"), volume.get("configMap")) {
            (Some(source), None) => (source, store.secrets.get(text(source, "/secretName"))),
            (None, Some(source)) => (source, store.config_maps.get(text(source, "/name"))),
            _ => bail!("{name}: {volume} is neither a Secret nor a ConfigMap"),
        };
        let contents = contents.with_context(|| format!("{name}: {source} does not exist"))?;
        let mut keys: Vec<(&str, &str)> = contents.keys().map(|key| (key.as_str(), key.as_str())).collect();
        let chosen = items(source, "/items");
        if !chosen.is_empty() {
            let chosen = chosen.iter();
            keys = chosen
                .map(|item| (text(item, "/key"), text(item, "/path")))
                .collect();
        }
        for (key, path) in keys {
            let content = contents.get(key);
            let content = content.with_context(|| format!("{name}: {source} has no key {key}"))?;
            files.insert(Path::new(text(mount, "/mountPath")).join(path), content.clone());
        }
    }
    Ok(files)
}
