//! ListAnalyses: reads the caller's analyses by pages, those of the newest messages first.

use haven_platform::{call::Call, failure::Failure, handler::Handler, page::PageSize};
use haven_proto::data::v1::{ListAnalysesRequest, ListAnalysesResponse};

use super::AnalysisRpc;
use crate::rpc::conversation::message::number_from_cursor;

/// The name of this list in page tokens.
const LIST: &[u8] = b"ListAnalyses";

/// The maximum number of analyses on a page. Each has at most 60 KB (30 items of 500 characters of 4 bytes), and a
/// response must stay below the 4 MiB that gRPC clients accept by default.
const MAX_PAGE_SIZE: u8 = 50;

impl Handler<ListAnalysesRequest> for AnalysisRpc {
    type Answer = ListAnalysesResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ListAnalysesRequest,
    ) -> Result<ListAnalysesResponse, Failure> {
        let owner = call.user()?;
        let size = parse_page_size(&request)?;
        let before = self.pages.cursor(owner, LIST, &request.page_token)?;
        let before = before.map(number_from_cursor).transpose()?;
        let page = self.analyses.list(owner, before, size, call.deadline).await?;
        let next_page_token = self
            .pages
            .next(owner, LIST, &page, |last| last.range.last.get().to_be_bytes());
        let analyses = page
            .items
            .into_iter()
            .map(|sealed| self.open_analysis(owner, sealed));
        Ok(ListAnalysesResponse {
            analyses: analyses.collect::<Result<_, _>>()?,
            next_page_token,
        })
    }
}

fn parse_page_size(request: &ListAnalysesRequest) -> Result<PageSize, Failure> {
    Ok(PageSize::parse_alone(request.page_size)?.at_most(MAX_PAGE_SIZE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_at_most_50_analyses() {
        let size = |page_size| {
            let request = ListAnalysesRequest {
                page_size,
                ..Default::default()
            };
            parse_page_size(&request).ok().map(PageSize::get)
        };
        assert_eq!([size(0), size(1), size(49)], [Some(50), Some(1), Some(49)]);
        assert_eq!([size(50), size(51), size(i32::MAX)], [Some(50); 3]);
        assert_eq!(size(-1), None);
    }
}
