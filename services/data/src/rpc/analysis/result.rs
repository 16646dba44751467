//! Conversion of analyses to the response message.

use haven_platform::{call::UserId, failure::Failure, time::timestamp};
use haven_proto::data::v1 as proto;

use super::AnalysisRpc;
use crate::domain::analysis::{Analysis, AnalysisType, SealedAnalysis};

impl AnalysisRpc {
    /// Opens an analysis of `owner`, and converts it to the response message.
    pub(super) fn open_analysis(
        &self,
        owner: UserId,
        sealed: SealedAnalysis,
    ) -> Result<proto::Analysis, Failure> {
        let analysis = sealed.open(&self.keys, owner).map_err(Failure::internal)?;
        Ok(analysis_to_proto(&analysis))
    }
}

/// Converts an opened analysis to the response message.
pub(in crate::rpc) fn analysis_to_proto(analysis: &Analysis) -> proto::Analysis {
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
