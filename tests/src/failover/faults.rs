//! What happens to a node: faults, and their end.

use anyhow::Result;

use super::{Failover, Node, run, script};

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

    /// Cuts a node off from the network.
    pub fn cut(&self, node: usize) {
        let Node {
            postgres, rest, etcd, ..
        } = &self.nodes[node];
        for proxy in [postgres, rest, etcd] {
            proxy.cut();
        }
    }

    /// Connects a node to the network again.
    pub fn restore(&self, node: usize) {
        let Node {
            postgres, rest, etcd, ..
        } = &self.nodes[node];
        for proxy in [postgres, rest, etcd] {
            proxy.restore();
        }
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
