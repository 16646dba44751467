//! Drops delivered messages from the outbox, many at a time: while many people sign up, a transaction for each message
//! would cost a tenth of what a sign-up does. A message that is not dropped in time is delivered again, which changes
//! nothing.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{domain::outbox::Message, store::outbox::Outbox};

/// For how long messages are collected: much shorter than the time after which an undropped message is sent again.
const COLLECT: Duration = Duration::from_millis(50);

/// How many messages one statement drops.
const MOST: usize = 500;

/// Where delivered messages go. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Delivered {
    queue: mpsc::UnboundedSender<Message>,
    outbox: Outbox,
}

impl Delivered {
    /// Drops from `outbox`, in a task of `tasks`, until `stop` says so.
    pub(super) fn start(outbox: Outbox, tasks: &TaskTracker, stop: CancellationToken) -> Self {
        let (queue, messages) = mpsc::unbounded_channel();
        tasks.spawn(drop_all(outbox.clone(), messages, stop));
        Self { queue, outbox }
    }

    /// Has `message` dropped soon; at once, when the service is stopping.
    pub(super) async fn drop(&self, message: Message) {
        if let Err(mpsc::error::SendError(message)) = self.queue.send(message) {
            drop_from(&self.outbox, &[message]).await;
        }
    }
}

async fn drop_all(outbox: Outbox, mut messages: mpsc::UnboundedReceiver<Message>, stop: CancellationToken) {
    let mut batch = Vec::new();
    loop {
        let first = stop
            .run_until_cancelled(messages.recv_many(&mut batch, MOST))
            .await;
        let stopping = first.is_none() || timeout(COLLECT, stop.cancelled()).await.is_ok();
        if stopping {
            messages.close();
        }
        while batch.len() < MOST || stopping {
            let Ok(message) = messages.try_recv() else { break };
            batch.push(message);
        }
        if !batch.is_empty() {
            drop_from(&outbox, &batch).await;
            batch.clear();
        }
        if stopping {
            return;
        }
    }
}

async fn drop_from(outbox: &Outbox, messages: &[Message]) {
    if let Err(error) = outbox.delivered(messages).await {
        tracing::warn!(%error, "the outbox cannot be written: messages will be delivered again");
    }
}
