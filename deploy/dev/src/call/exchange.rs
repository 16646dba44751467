//! One call: sends the request, and prints what comes back.

use std::{
    error::Error,
    future::pending,
    io::{Write, stdout},
    iter,
    time::Duration,
};

use anyhow::{Context, Result};
use haven_testkit::Client;
use prost_reflect::DynamicMessage;
use tokio::time::sleep;
use tonic::{Request, Status, TimeoutExpired, client::Grpc, metadata::MetadataMap};

use super::{codec::DynamicCodec, contracts::Rpc, failure::FailedCall};

/// The time after its deadline in which a service can still report that the deadline has passed.
const GRACE: Duration = Duration::from_secs(1);

/// A call and how its answer is printed.
pub(super) struct Exchange<'a> {
    pub(super) rpc: &'a Rpc,
    /// The service to call: `identity` or `data`.
    pub(super) server: &'a str,
    pub(super) messages: Vec<DynamicMessage>,
    pub(super) metadata: MetadataMap,
    pub(super) timeout: Option<Duration>,
    /// The number of messages after which a stream is ended.
    pub(super) limit: Option<u64>,
    pub(super) compact: bool,
    pub(super) verbose: bool,
}

impl Exchange<'_> {
    /// Makes the call, prints each message of the answer, and returns the last one.
    pub(super) async fn run(&self, client: &Client) -> Result<Option<DynamicMessage>> {
        let silent = async {
            match self.timeout {
                Some(timeout) => sleep(timeout + GRACE).await,
                None => pending().await,
            }
        };
        let outcome = tokio::select! {
            outcome = self.exchange(client) => outcome,
            () = silent => Err(Status::deadline_exceeded("no answer came within --timeout").into()),
        };
        outcome.map_err(|problem| match problem.downcast::<Status>() {
            Ok(status) => FailedCall {
                rpc: self.rpc.name(),
                status: own_deadline(status),
            }
            .into(),
            Err(problem) => problem,
        })
    }

    async fn exchange(&self, client: &Client) -> Result<Option<DynamicMessage>> {
        let mut grpc = Grpc::new(client.connection(self.server)).max_decoding_message_size(usize::MAX);
        grpc.ready()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        let path = format!("/{}", self.rpc.full_name()).parse()?;
        let codec = DynamicCodec {
            answer: self.rpc.method.output(),
        };
        let mut request = Request::new(tokio_stream::iter(self.messages.clone()));
        *request.metadata_mut() = self.metadata.clone();
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        if self.verbose {
            for message in &self.messages {
                eprintln!("> {}", serde_json::to_string(message)?);
            }
        }
        // The other kinds of calls are streams, too, with one message.
        let (metadata, mut answers, _) = grpc.streaming(request, path, codec).await?.into_parts();
        self.report(&metadata);
        let (mut last, mut count) = (None, 0);
        while let Some(answer) = answers.message().await? {
            self.print(&answer)?;
            last = Some(answer);
            count += 1;
            if self.limit == Some(count) {
                return Ok(last);
            }
        }
        if let Some(metadata) = answers.trailers().await? {
            self.report(&metadata);
        }
        Ok(last)
    }

    fn print(&self, message: &DynamicMessage) -> Result<()> {
        let json = match self.compact {
            true => serde_json::to_string(message)?,
            false => serde_json::to_string_pretty(message)?,
        };
        let mut output = stdout().lock();
        writeln!(output, "{json}").context("writing to standard output")?;
        Ok(output.flush()?)
    }

    /// Prints the metadata of an answer.
    fn report(&self, metadata: &MetadataMap) {
        for (name, value) in metadata.as_ref().iter().filter(|_| self.verbose) {
            eprintln!("< {name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
    }
}

/// Returns `status`, or DEADLINE_EXCEEDED if this end of the connection has noticed that the deadline passed: tonic reports
/// that as CANCELLED.
fn own_deadline(status: Status) -> Status {
    let mut causes = iter::successors(status.source(), |&error| error.source());
    if causes.any(|error| error.is::<TimeoutExpired>()) {
        return Status::deadline_exceeded("no answer came within --timeout");
    }
    status
}
