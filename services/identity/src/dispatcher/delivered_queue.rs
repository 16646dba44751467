//! The queue of delivered messages, which are deleted from the outbox in batches: while many people sign up, a
//! transaction per message would cost a tenth of a sign-up. A message that is not deleted in time is delivered again,
//! which changes nothing.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{domain::outbox::Message, store::outbox::Outbox};

/// The time during which a batch is collected: much shorter than the lease after which a message is delivered again.
const COLLECT_TIME: Duration = Duration::from_millis(50);

/// The maximum number of messages that one statement deletes.
const MAX_BATCH_SIZE: usize = 500;

/// The sending half of the queue. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct DeliveredQueue {
    queue: mpsc::UnboundedSender<Message>,
    outbox: Outbox,
}

impl DeliveredQueue {
    /// Starts a task of `tasks` that deletes queued messages from `outbox` until `stop` is cancelled.
    pub(super) fn start(outbox: Outbox, tasks: &TaskTracker, stop: CancellationToken) -> Self {
        let (queue, messages) = mpsc::unbounded_channel();
        tasks.spawn(delete_all(outbox.clone(), messages, stop));
        Self { queue, outbox }
    }

    /// Queues `message` for deletion. When the service is stopping, deletes it immediately.
    pub(super) async fn delete(&self, message: Message) {
        if let Err(mpsc::error::SendError(message)) = self.queue.send(message) {
            delete_from(&self.outbox, &[message]).await;
        }
    }
}

async fn delete_all(outbox: Outbox, mut messages: mpsc::UnboundedReceiver<Message>, stop: CancellationToken) {
    let mut batch = Vec::new();
    loop {
        let first = stop
            .run_until_cancelled(messages.recv_many(&mut batch, MAX_BATCH_SIZE))
            .await;
        let stopping = first.is_none() || timeout(COLLECT_TIME, stop.cancelled()).await.is_ok();
        if stopping {
            messages.close();
        }
        while batch.len() < MAX_BATCH_SIZE || stopping {
            let Ok(message) = messages.try_recv() else { break };
            batch.push(message);
        }
        if !batch.is_empty() {
            delete_from(&outbox, &batch).await;
            batch.clear();
        }
        if stopping {
            return;
        }
    }
}

async fn delete_from(outbox: &Outbox, messages: &[Message]) {
    if let Err(error) = outbox.delivered(messages).await {
        tracing::warn!(%error, "cannot write to the outbox: messages will be delivered again");
    }
}
