//! Which node leads, and which ones follow it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use sqlx::Connection;
use tokio::time::timeout;

use super::{ANSWER, Failover, NODES, START};
use crate::secrets::SUPERUSER;

impl Failover {
    /// Returns the leader: the node that is not in recovery.
    ///
    /// # Errors
    ///
    /// If no node is the leader, or if several are.
    pub async fn leader(&self) -> Result<usize> {
        let mut leaders = Vec::new();
        for node in 0..NODES {
            let question = async {
                let mut connection = self.node(node).connect(SUPERUSER).await?;
                let recovers: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()")
                    .fetch_one(&mut connection)
                    .await?;
                anyhow::Ok(!recovers)
            };
            if matches!(timeout(ANSWER, question).await, Ok(Ok(true))) {
                leaders.push(node);
            }
        }
        match leaders[..] {
            [leader] => Ok(leader),
            _ => bail!("the leaders are {leaders:?}"),
        }
    }

    /// Waits until there are a leader, and two standbys that stream from it, one of them synchronous. Returns the leader.
    ///
    /// # Errors
    ///
    /// If it takes longer than the start may.
    pub async fn complete(&self) -> Result<usize> {
        let limit = Instant::now() + START;
        loop {
            let leader = self.leader().await;
            if let Ok(leader) = leader
                && self
                    .standbys(leader)
                    .await
                    .is_ok_and(|standbys| standbys == (2, 1))
            {
                return Ok(leader);
            }
            if Instant::now() > limit {
                bail!("the rig is not complete: {leader:?}\n{}", self.log_ends()?);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Returns the number of standbys that stream from the leader, and of synchronous ones among them.
    async fn standbys(&self, leader: usize) -> Result<(i64, i64)> {
        let mut connection = self.superuser(leader).await?;
        let counts = "SELECT count(*), count(*) FILTER (WHERE sync_state = 'sync') FROM pg_stat_replication \
                      WHERE state = 'streaming' AND usename = 'streaming_replica'";
        let counted = timeout(ANSWER, sqlx::query_as(counts).fetch_one(&mut connection)).await??;
        connection.close().await?;
        Ok(counted)
    }
}
