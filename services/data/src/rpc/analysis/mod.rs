//! `haven.data.v1.AnalysisService`: what analyses found in a person's messages.

mod delete_analysis;

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    reason::Reason,
    time::timestamp,
};
use haven_proto::data::v1::{
    self as proto, DeleteAnalysisRequest, DeleteAnalysisResponse, GetAnalysisRequest, GetAnalysisResponse,
    ListAnalysesRequest, ListAnalysesResponse, RequestAnalysisRequest, RequestAnalysisResponse,
    analysis_service_server::AnalysisService,
};
use tonic::{Request, Response, Status};

use self::delete_analysis as parsing;
use super::{DataRpc, conversation::message::last_number};
use crate::{
    domain::analysis::{Analysis, AnalysisType, Job, JobState, SealedAnalysis},
    store::{
        analysis::DeleteError,
        analysis::request_analysis::{AskError, NewJob},
    },
};

/// What has to be the same from page to page.
const LIST: &[u8] = b"ListAnalyses";

impl DataRpc {
    async fn request_analysis_of(
        &self,
        call: &Call,
        request: RequestAnalysisRequest,
    ) -> Result<RequestAnalysisResponse, Failure> {
        let owner = call.user()?;
        let request = parsing::request(request, &self.requests)?;
        let new = NewJob {
            id: self.entropy.uuid_v7(&self.clock),
            created_at: self.clock.now(),
        };
        let asked = self.analyses.ask(owner, call.deadline, new, request).await?;
        if asked.is_new {
            self.new_jobs.notify();
        }
        Ok(RequestAnalysisResponse {
            job: Some(job(&asked.job)),
        })
    }

    async fn get_analysis_of(
        &self,
        call: &Call,
        request: &GetAnalysisRequest,
    ) -> Result<GetAnalysisResponse, Failure> {
        let owner = call.user()?;
        let id = parsing::analysis_id(&request.analysis_id)?;
        let sealed = self.analyses.get(owner, call.deadline, id).await?;
        let sealed = sealed.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(GetAnalysisResponse {
            analysis: Some(self.open_analysis(owner, sealed)?),
        })
    }

    async fn list_analyses_of(
        &self,
        call: &Call,
        request: &ListAnalysesRequest,
    ) -> Result<ListAnalysesResponse, Failure> {
        let owner = call.user()?;
        let size = parsing::page_size(request)?;
        let before = self.pages.cursor(owner, LIST, &request.page_token)?;
        let before = before.map(last_number).transpose()?;
        let page = self.analyses.list(owner, call.deadline, before, size).await?;
        let last = page.analyses.last().filter(|_| page.more);
        let next_page_token = last.map(|last| {
            let cursor = last.range.last.get().to_be_bytes();
            self.pages.seal(owner, LIST, &cursor)
        });
        let analyses = page
            .analyses
            .into_iter()
            .map(|sealed| self.open_analysis(owner, sealed))
            .collect::<Result<_, _>>()?;
        Ok(ListAnalysesResponse {
            analyses,
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }

    async fn delete_analysis_of(
        &self,
        call: &Call,
        request: DeleteAnalysisRequest,
    ) -> Result<DeleteAnalysisResponse, Failure> {
        let owner = call.user()?;
        let (id, request) = parsing::delete(request, &self.requests)?;
        self.analyses
            .delete(owner, call.deadline, id, request, self.clock.now())
            .await?;
        Ok(DeleteAnalysisResponse {})
    }

    fn open_analysis(&self, owner: UserId, sealed: SealedAnalysis) -> Result<proto::Analysis, Failure> {
        let analysis = sealed.open(&self.keys, owner).map_err(Failure::internal)?;
        Ok(answer(&analysis))
    }
}

#[tonic::async_trait]
impl AnalysisService for DataRpc {
    async fn request_analysis(
        &self,
        request: Request<RequestAnalysisRequest>,
    ) -> Result<Response<RequestAnalysisResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.request_analysis_of(&call, request.into_inner()).await?,
        ))
    }

    async fn get_analysis(
        &self,
        request: Request<GetAnalysisRequest>,
    ) -> Result<Response<GetAnalysisResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.get_analysis_of(&call, request.get_ref()).await?,
        ))
    }

    async fn list_analyses(
        &self,
        request: Request<ListAnalysesRequest>,
    ) -> Result<Response<ListAnalysesResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.list_analyses_of(&call, request.get_ref()).await?,
        ))
    }

    async fn delete_analysis(
        &self,
        request: Request<DeleteAnalysisRequest>,
    ) -> Result<Response<DeleteAnalysisResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.delete_analysis_of(&call, request.into_inner()).await?,
        ))
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::NothingToAnalyze => Self::new(Reason::NothingToAnalyze),
            AskError::Unknown(unknown) => unknown.into(),
            AskError::RequestIdReused => Self::new(Reason::RequestIdReused),
            AskError::Database(error) => error.into(),
        }
    }
}

impl From<DeleteError> for Failure {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::NotFound => Self::new(Reason::NotFound),
            DeleteError::RequestIdReused => Self::new(Reason::RequestIdReused),
            DeleteError::Database(error) => error.into(),
        }
    }
}

/// A job, as it is answered.
pub(in crate::rpc) fn job(job: &Job) -> proto::AnalysisJob {
    let state = match job.state {
        JobState::Queued => proto::AnalysisJobState::Queued,
        JobState::Leased => proto::AnalysisJobState::Leased,
        JobState::Done => proto::AnalysisJobState::Done,
        JobState::Dead => proto::AnalysisJobState::Dead,
    };
    proto::AnalysisJob {
        id: job.id.to_string(),
        first_number: job.range.first.get(),
        last_number: job.range.last.get(),
        state: state.into(),
        create_time: Some(timestamp(job.created_at)),
    }
}

/// An analysis, as it is sent.
pub(in crate::rpc) fn answer(analysis: &Analysis) -> proto::Analysis {
    let analysis_type = match analysis.analysis_type {
        AnalysisType::ChatScoring => proto::AnalysisType::ChatScoring,
        AnalysisType::MilestoneCheck => proto::AnalysisType::MilestoneCheck,
        AnalysisType::GraduationAssessment => proto::AnalysisType::GraduationAssessment,
        AnalysisType::CrisisReview => proto::AnalysisType::CrisisReview,
    };
    let details = &analysis.details;
    let milestone = analysis.triggered_milestone.as_ref();
    proto::Analysis {
        id: analysis.id.to_string(),
        analysis_type: analysis_type.into(),
        chat_score_tenths: analysis.chat_score.tenths().into(),
        first_number: analysis.range.first.get(),
        last_number: analysis.range.last.get(),
        insights: details.insights().map(str::to_owned).collect(),
        strengths: details.strengths().map(str::to_owned).collect(),
        improvement_areas: details.improvement_areas().map(str::to_owned).collect(),
        triggered_milestone: milestone.map(ToString::to_string).unwrap_or_default(),
        create_time: Some(timestamp(analysis.created_at)),
        version: analysis.version,
    }
}
