//! From requests about analyses to domain types. Everything that is wrong with a request is reported at once.

use haven_platform::{failure::Failure, mac::MacKey, page::PageSize, violations::Violations};
use haven_proto::data::v1::{DeleteAnalysisRequest, ListAnalysesRequest, RequestAnalysisRequest};
use uuid::Uuid;

use crate::store::request::RequestKey;

/// At most how many analyses a page may have. Each is at most 60 KB (30 items of 500 characters of 4 bytes), and an
/// answer has to stay below the 4 MiB that a gRPC client takes unless told otherwise.
const MOST_ON_A_PAGE: u8 = 50;

pub(in crate::rpc) fn request(
    mut sent: RequestAnalysisRequest,
    requests: &MacKey,
) -> Result<RequestKey, Failure> {
    let mut violations = Violations::new();
    let request = RequestKey::take(
        "RequestAnalysis",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut violations,
    );
    violations.check()?;
    Ok(request)
}

/// The id of the one analysis that a request is about.
pub(in crate::rpc) fn analysis_id(id: &str) -> Result<Uuid, Failure> {
    let mut violations = Violations::new();
    let id = violations.uuid("analysis_id", id);
    violations.check()?;
    Ok(id)
}

pub(in crate::rpc) fn page_size(request: &ListAnalysesRequest) -> Result<PageSize, Failure> {
    Ok(PageSize::parse_alone(request.page_size)?.at_most(MOST_ON_A_PAGE))
}

pub(in crate::rpc) fn delete(
    mut sent: DeleteAnalysisRequest,
    requests: &MacKey,
) -> Result<(Uuid, RequestKey), Failure> {
    let mut violations = Violations::new();
    let request = RequestKey::take(
        "DeleteAnalysis",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut violations,
    );
    let id = violations.uuid("analysis_id", &sent.analysis_id);
    violations.check()?;
    Ok((id, request))
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKey;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn key() -> MacKey {
        MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests")
    }

    fn deletion(analysis_id: &str, request_id: &str) -> DeleteAnalysisRequest {
        DeleteAnalysisRequest {
            analysis_id: analysis_id.into(),
            request_id: request_id.into(),
        }
    }

    #[test]
    fn everything_wrong_with_a_deletion_is_reported_at_once() {
        let failure = delete(deletion("x", ""), &key()).unwrap_err();
        let violations: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|one| (one.field.as_str(), one.name))
            .collect();
        assert_eq!(
            violations,
            [("request_id", "REQUIRED"), ("analysis_id", "NOT_A_UUID")]
        );
    }

    #[test]
    fn a_request_is_known_by_its_method_and_content_and_not_by_its_id() {
        let deleted = |analysis, id| delete(deletion(analysis, id), &key()).unwrap().1.payload_mac;
        let asked = |id: &str| {
            let wish = RequestAnalysisRequest {
                request_id: id.into(),
            };
            request(wish, &key()).unwrap().payload_mac
        };
        assert_eq!(deleted(ID, ID), deleted(ID, OTHER_ID));
        assert_ne!(deleted(ID, ID), deleted(OTHER_ID, ID));
        assert_eq!(asked(ID), asked(OTHER_ID));
        assert_ne!(asked(ID), deleted(ID, ID));
    }

    #[test]
    fn a_page_has_at_most_50_analyses() {
        let size = |page_size| {
            let request = ListAnalysesRequest {
                page_size,
                ..Default::default()
            };
            page_size_of(&request)
        };
        assert_eq!([size(0), size(1), size(49)], [Some(50), Some(1), Some(49)]);
        assert_eq!([size(50), size(51), size(i32::MAX)], [Some(50); 3]);
        assert_eq!(size(-1), None);
    }

    fn page_size_of(request: &ListAnalysesRequest) -> Option<u8> {
        page_size(request).ok().map(PageSize::get)
    }
}
