//! The socket on which the specs of the browser control the stack. It is on loopback, and open only while the test runs.
//!
//! A request is a line of JSON, `{"command": "signUp", …}`, and so is its answer, `{"result": …}` or `{"error": "…"}`.

use std::net::Ipv4Addr;

use anyhow::{Error, Result};
use haven_testkit::Stack;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::commands::{Command, Commands};

/// The listening socket.
pub(super) struct Control(TcpListener);

impl Control {
    /// Listens on a port that the kernel chooses.
    pub(super) async fn listen() -> Result<Self> {
        Ok(Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?))
    }

    /// Returns the port of the socket.
    pub(super) fn port(&self) -> Result<u16> {
        Ok(self.0.local_addr()?.port())
    }

    /// Runs the commands of one connection after the other. Ends only when the socket fails.
    pub(super) async fn serve(&self, stack: &mut Stack) -> Error {
        let mut commands = Commands::new(stack);
        loop {
            let served = match self.0.accept().await {
                Ok((connection, _)) => serve(connection, &mut commands).await,
                Err(error) => return error.into(),
            };
            if let Err(error) = served {
                eprintln!("a connection of the specs failed: {error:#}");
            }
        }
    }
}

async fn serve(connection: TcpStream, commands: &mut Commands<'_>) -> Result<()> {
    let (reader, mut writer) = connection.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let result = match serde_json::from_str::<Command>(&line) {
            Ok(command) => commands.run(command).await,
            Err(error) => Err(error.into()),
        };
        let answer: Value = match result {
            Ok(result) => json!({ "result": result }),
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        writer.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    Ok(())
}
