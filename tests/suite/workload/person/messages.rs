//! Messages and analyses.

use haven_proto::data::v1::{
    AppendMessageRequest, DeleteAnalysisRequest, DeleteMessageRequest, GetMessageRequest,
    ListAnalysesRequest, ListMessagesRequest, RequestAnalysisRequest, RequestAnalysisResponse, SenderType,
    UpdateMessageRequest,
};
use haven_testkit::random;

use super::{Done, Failure, Kind, Message, Mutation, Person, any, request_id};
use crate::workload::{content, journal::Fact, named};

impl Person<'_> {
    /// Appends a message, for which the client or the service chooses an id.
    pub(super) async fn append_message(&mut self) -> Done {
        let name = random::uuid();
        let text = content(self.name, name);
        let request = AppendMessageRequest {
            sender_type: SenderType::User.into(),
            text: text.clone(),
            message_id: if rand::random() {
                name.to_string()
            } else {
                String::new()
            },
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Message, name).becomes(1, &text)];
        let mut service = self.device.client.conversation();
        let answer = self
            .caller
            .call(
                Mutation::new("AppendMessage", &id, changes),
                request,
                async |request| service.append_message(request).await,
            )
            .await?;
        let message = answer.message.unwrap_or_default();
        self.assert_own("AppendMessage", message.text == text, &message.id);
        let (id, version) = (message.id, 1);
        self.messages.insert(name, Message { id, version, text });
        Ok(())
    }

    pub(super) async fn update_message(&mut self) -> Done {
        let Some(name) = any(&self.messages) else {
            return self.append_message().await;
        };
        let text = content(self.name, name);
        let message = &self.messages[&name];
        let version = message.version + 1;
        let request = UpdateMessageRequest {
            message_id: message.id.clone(),
            text: text.clone(),
            expected_version: message.version,
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Message, name).becomes(version, &text)];
        let mut service = self.device.client.conversation();
        self.caller
            .call(
                Mutation::new("UpdateMessage", &id, changes),
                request,
                async |request| service.update_message(request).await,
            )
            .await?;
        if let Some(message) = self.messages.get_mut(&name) {
            (message.version, message.text) = (version, text);
        }
        Ok(())
    }

    pub(super) async fn delete_message(&mut self) -> Done {
        let Some(name) = any(&self.messages) else {
            return self.append_message().await;
        };
        let request = DeleteMessageRequest {
            message_id: self.messages[&name].id.clone(),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Message, name).goes()];
        let mut service = self.device.client.conversation();
        self.caller
            .call(
                Mutation::new("DeleteMessage", &id, changes),
                request,
                async |request| service.delete_message(request).await,
            )
            .await?;
        self.messages.remove(&name);
        Ok(())
    }

    pub(super) async fn read_message(&mut self) -> Done {
        let Some(name) = any(&self.messages) else {
            return self.append_message().await;
        };
        let request = GetMessageRequest {
            message_id: self.messages[&name].id.clone(),
        };
        let mut service = self.device.client.conversation();
        let read = self
            .caller
            .read(request, async |request| service.get_message(request).await)
            .await;
        if let Some(message) = read.and_then(|answer| answer.message) {
            self.assert_message("GetMessage", &message);
        }
        Ok(())
    }

    pub(super) async fn list_messages(&mut self) -> Done {
        let request = ListMessagesRequest {
            page_size: 50,
            ..ListMessagesRequest::default()
        };
        let mut service = self.device.client.conversation();
        let read = self
            .caller
            .read(request, async |request| service.list_messages(request).await)
            .await;
        for message in read.iter().flat_map(|answer| &answer.messages) {
            self.assert_message("ListMessages", message);
        }
        Ok(())
    }

    fn assert_message(&self, rpc: &str, found: &haven_proto::data::v1::Message) {
        let Some((owner, name)) = named(&found.text) else {
            return self.assert_own(rpc, false, &found.id);
        };
        self.assert_own(rpc, owner == self.name, &found.text);
        let known = name.parse().ok().and_then(|name| self.messages.get(&name));
        let current =
            known.is_some_and(|message| (found.version, &found.text) == (message.version, &message.text));
        self.assert_current(
            rpc,
            current,
            &format!("{} at version {}", found.text, found.version),
        );
    }

    pub(super) async fn request_analysis(&mut self) -> Done {
        let request = RequestAnalysisRequest {
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let mut service = self.device.client.analysis();
        let answer = self
            .caller
            .call_with_facts(
                Mutation::new("RequestAnalysis", &id, Vec::new()),
                request,
                |answer: &RequestAnalysisResponse| {
                    let id = answer.job.as_ref().and_then(|job| job.id.parse().ok());
                    id.map(Fact::Job).into_iter().collect()
                },
                async |request| service.request_analysis(request).await,
            )
            .await;
        match answer {
            // Every message is analyzed, or there is none.
            Err(Failure::Refused(reason)) if reason == "NOTHING_TO_ANALYZE" => Ok(()),
            Err(failure) => Err(failure),
            Ok(_) => Ok(()),
        }
    }

    /// Lists the analyses, and deletes one. It has the name of its job, which a worker wrote into it.
    pub(super) async fn delete_analysis(&mut self) -> Done {
        let mut service = self.device.client.analysis();
        let read = self
            .caller
            .read(ListAnalysesRequest::default(), async |request| {
                service.list_analyses(request).await
            })
            .await;
        let analyses = read.map(|answer| answer.analyses).unwrap_or_default();
        for analysis in &analyses {
            let insight = analysis.insights.first().map_or("", String::as_str);
            let own = named(insight).is_some_and(|named| named == (self.name, analysis.id.as_str()));
            self.assert_own("ListAnalyses", own, insight);
        }
        let Some(analysis) = analyses.first() else {
            return self.append_message().await;
        };
        let request = DeleteAnalysisRequest {
            analysis_id: analysis.id.clone(),
            request_id: request_id(),
        };
        let id = request.request_id.clone();
        let changes = vec![self.object(Kind::Analysis, &analysis.id).goes()];
        self.caller
            .call(
                Mutation::new("DeleteAnalysis", &id, changes),
                request,
                async |request| service.delete_analysis(request).await,
            )
            .await?;
        Ok(())
    }
}
