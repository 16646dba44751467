//! Retries by callers: the published service config, the layer for clients of tonic, and a gRPC library that retries by
//! the config alone; and the answers that retries get whatever changed.

mod changes;
mod grpcio;
mod layer;
mod restarts;
mod service_config;
