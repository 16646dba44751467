//! `haven.data.v1.AnalysisService`: the analyses of a person's messages.

mod delete_analysis;
mod get_analysis;
pub(in crate::rpc) mod job;
mod list_analyses;
mod request_analysis;
pub(in crate::rpc) mod result;

use std::sync::Arc;

use haven_platform::{entropy::Entropy, grpc_service, mac::MacKeys, page::PageTokens, time::Clock};
use haven_proto::data::v1::{
    DeleteAnalysisRequest, DeleteAnalysisResponse, GetAnalysisRequest, GetAnalysisResponse,
    ListAnalysesRequest, ListAnalysesResponse, RequestAnalysisRequest, RequestAnalysisResponse,
    analysis_service_server::AnalysisService,
};

use crate::{domain::key_ring::KeyRing, notify::Notify, store::analysis::Analyses};

/// The implementation of AnalysisService.
#[derive(Debug)]
pub struct AnalysisRpc {
    /// The analyses and their jobs.
    pub analyses: Analyses,
    /// Opens the details of analyses.
    pub keys: Arc<KeyRing>,
    /// Notifies waiting workers of new jobs.
    pub new_jobs: Notify,
    /// The key for the keyed hashes of requests.
    pub requests: MacKeys,
    /// Seals and verifies page tokens.
    pub pages: PageTokens,
    /// The clock that times of creation and change are read from.
    pub clock: Clock,
    /// The source of ids.
    pub entropy: Entropy,
}

grpc_service! {
    impl AnalysisService for AnalysisRpc {
        rpc request_analysis(RequestAnalysisRequest) -> RequestAnalysisResponse;
        rpc get_analysis(GetAnalysisRequest) -> GetAnalysisResponse;
        rpc list_analyses(ListAnalysesRequest) -> ListAnalysesResponse;
        rpc delete_analysis(DeleteAnalysisRequest) -> DeleteAnalysisResponse;
    }
}
