//! What happens to a node: faults, and their end.

use anyhow::Result;

use super::{Failover, Node, run, script};
use crate::proxy::Proxy;

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Patroni, Postgres and all its processes are killed with SIGKILL.
    Kill,
    /// Patroni, Postgres and all its processes are stopped with SIGSTOP.
    Freeze,
    /// No packet reaches the node or leaves it.
    Cut,
    /// The leader hands over to a standby.
    Switchover,
}

impl Failover {
    /// Puts a fault into the leader. A switchover ends when another node leads.
    ///
    /// # Errors
    ///
    /// If the fault cannot be caused.
    pub async fn cause(&self, fault: Fault, leader: usize) -> Result<()> {
        match fault {
            Fault::Kill => self.act("kill", leader).await,
            Fault::Freeze => self.act("freeze", leader).await,
            Fault::Cut => {
                self.cut(leader);
                Ok(())
            }
            Fault::Switchover => {
                let name = format!("node-{}", leader + 1);
                self.patronictl(&["switchover", "--leader", &name, "--force"])
                    .await
                    .map(drop)
            }
        }
    }

    /// Ends a fault: the node comes back. It becomes a standby, if another one leads.
    ///
    /// # Errors
    ///
    /// If the node cannot be started.
    pub async fn mend(&self, fault: Fault, node: usize) -> Result<()> {
        match fault {
            Fault::Kill => self.act("start", node).await,
            Fault::Freeze => self.act("resume", node).await,
            Fault::Cut => {
                self.restore(node);
                Ok(())
            }
            Fault::Switchover => Ok(()),
        }
    }

    /// Cuts a node off from the network: from clients, standbys, HAProxy and etcd. No Patroni reaches another
    /// one then, because a proxy cannot tell which node asks: in failsafe mode a leader goes on while it reaches every node.
    pub fn cut(&self, node: usize) {
        self.ways(node).for_each(Proxy::cut);
    }

    /// Connects a node to the network again.
    pub fn restore(&self, node: usize) {
        self.ways(node).for_each(Proxy::restore);
    }

    fn ways(&self, node: usize) -> impl Iterator<Item = &Proxy> {
        let Node {
            postgres,
            checks,
            etcd,
            ..
        } = &self.nodes[node];
        let peers = self.nodes.iter().map(|node| &node.peers);
        [postgres, checks, etcd].into_iter().chain(peers)
    }

    /// Runs `deploy/failover/node` with `action`: `start`, `stop`, `kill`, `freeze` or `resume`.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub async fn act(&self, action: &'static str, node: usize) -> Result<()> {
        let mut command = script("node", &self.environment);
        command
            .arg(action)
            .arg(&self.directory)
            .arg((node + 1).to_string());
        run(command).await.map(drop)
    }
}
