//! `deploy/kubernetes`: the rendered overlays against the programs, with the Secrets that the README describes.
//!
//! | file | content |
//! | --- | --- |
//! | `overlay`, `pod`, `secret_store` | the documents, the containers of their pods, and what those mount |
//! | `postgres` | what CloudNativePG makes of the Cluster |
//! | `installation` | tests that run the pods as processes |
//! | `references`, `pod_rules` | tests of the names, ports and labels by which the documents find each other, and of each pod |
//! | `network_policies`, `secrets_table`, `parameters` | tests of the documents against what is written elsewhere |

mod installation;
mod network_policies;
mod overlay;
mod parameters;
mod pod;
mod pod_rules;
mod postgres;
mod references;
mod secret_store;
mod secrets_table;
