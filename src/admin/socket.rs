//! The control socket: commands for the running server, one JSON object a line, an answer a line. Only the user that
//! the server runs as, and root, may use it; the kernel reports the peer's uid.

use super::flush::{self, Flush};
use super::top::{self, TopQuery};
use super::{AdminView, status};
use crate::base::accept::{AdmittedConnection, accept};
use crate::base::connections::Connections;
use crate::base::octets::{OF_CONNECTION, OctetKind};
use crate::base::stream::BoxedStream;
use crate::base::task;
use crate::http::stream::{CountedStream, WaitingOctets};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// The socket's name in its directory.
pub const NAME: &str = "pvtzd.sock";

/// The directory where the service manager names none.
const DIRECTORY: &str = "/run/pvtzd";

/// Connections at a time; none makes room for another one.
const MAX_CONNECTIONS: usize = 16;

/// Octets of the longest command.
const MAX_COMMAND_BYTES: u64 = 64 << 10;

/// Idle timeout of a connection.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "command")]
pub enum SocketCommand {
    /// The state of the server.
    Status,
    /// All private zones.
    Zones,
    /// The top lists.
    Top(TopQuery),
    /// Remove cached answers.
    Flush(Flush),
    /// Read the configuration again.
    Reload,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SocketReply {
    /// Success, with the result.
    Ok(Value),
    /// Failure, with the reason.
    Error(String),
}

/// A reload that was requested, and the channel for its result.
pub type Reload = oneshot::Sender<Result<String, String>>;

/// The usual place of the socket.
pub fn usual() -> PathBuf {
    let directory = std::env::var_os("RUNTIME_DIRECTORY").filter(|value| !value.is_empty());
    let first = directory.and_then(|value| Some(value.to_str()?.split(':').next()?.to_string()));
    PathBuf::from(first.as_deref().unwrap_or(DIRECTORY)).join(NAME)
}

/// The socket, bound; removed when dropped, if it is still ours.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    /// Where it is, which file it is, and whose.
    pub place: SocketFile,
}

/// Where the socket is.
#[derive(Debug)]
pub struct SocketFile {
    /// The path.
    pub path: PathBuf,
    inode: u64,
    owner: u32,
}

impl Bound {
    /// Binds the socket. Replaces the file of a dead server, but not that of a running one. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// The directory is not available, or another server is there.
    pub fn new(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        if path.exists() {
            match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another pvtzd listens there")),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
                Err(error) => return Err(error),
            }
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let file = fs::metadata(path)?;
        let place = SocketFile { path: path.into(), inode: file.ino(), owner: file.uid() };
        Ok(Self { listener, place })
    }

    /// Executes commands until it is dropped. Requests reloads through `reload`.
    pub fn serve(self, subject: Arc<AdminView>, reload: mpsc::Sender<Reload>) -> SocketFile {
        let Self { listener, place } = self;
        let owner = place.owner;
        let connections = Connections::of_kind(OctetKind::Operations, MAX_CONNECTIONS);
        let admit = move |stream: UnixStream, _| {
            let user = stream.peer_cred().map(|cred| cred.uid());
            if !user.is_ok_and(|user| user == 0 || user == owner) {
                return None; // the file's mode keeps most away before
            }
            let place = Arc::new(connections.admit(Ipv4Addr::LOCALHOST.into(), OctetKind::Operations)?);
            let waiting = WaitingOctets::new(&subject.live.octets, OctetKind::Operations, OF_CONNECTION);
            let (subject, reload, kept) = (subject.clone(), reload.clone(), place.clone());
            let account = waiting.account().clone();
            let conversation = async move {
                let _busy = kept.asking(); // `pvtzd top` is no less at work between two commands
                let _ = converse(stream, &subject, &reload, waiting).await; // errors of a connection are not logged
            };
            Some(AdmittedConnection { place, account, conversation: Box::pin(conversation) })
        };
        task::spawn(accept(listener, "control socket", admit));
        place
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path); // the next start removes it otherwise
        }
    }
}

async fn converse(
    stream: UnixStream,
    subject: &Arc<AdminView>,
    reload: &mpsc::Sender<Reload>,
    waiting: Arc<WaitingOctets>,
) -> io::Result<()> {
    let (reader, mut writer) =
        tokio::io::split(CountedStream::new(Box::new(stream) as BoxedStream, waiting.clone()));
    waiting.head_is_whole(); // commands are counted here
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        let read = timeout(TIMEOUT, (&mut reader).take(MAX_COMMAND_BYTES).read_line(&mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        if !line.ends_with('\n') {
            return Err(io::ErrorKind::InvalidData.into()); // too long, or cut
        }
        let mut room = None;
        let reply = match serde_json::from_slice(line.as_bytes()) {
            Ok(command) => {
                if matches!(command, SocketCommand::Status | SocketCommand::Zones | SocketCommand::Top(_)) {
                    // Before the answer is made; a peer that does not take it is cut off by the stream.
                    room = Some(waiting.account().reserve(OF_CONNECTION).await);
                }
                carry_out(command, subject, reload).await
            }
            Err(error) => SocketReply::Error(format!("invalid command: {error}")),
        };
        let mut text = serde_json::to_string(&reply).map_err(io::Error::other)?;
        text.push('\n');
        drop(reply);
        if let Some(room) = &mut room {
            room.shrink_to(text.len());
        }
        timeout(TIMEOUT, writer.write_all(text.as_bytes())).await??;
    }
}

async fn carry_out(
    command: SocketCommand,
    subject: &Arc<AdminView>,
    reload: &mpsc::Sender<Reload>,
) -> SocketReply {
    let value = |value: Result<Value, serde_json::Error>| match value {
        Ok(value) => SocketReply::Ok(value),
        Err(error) => SocketReply::Error(error.to_string()),
    };
    match command {
        SocketCommand::Status => value(serde_json::to_value(status::read(subject))),
        SocketCommand::Zones => value(serde_json::to_value(status::zones(subject))),
        SocketCommand::Top(query) => value(serde_json::to_value(top::read(subject, &query))),
        SocketCommand::Flush(what) => match flush::flush(&subject.live, &what) {
            Ok(flushed) => {
                tracing::info!(entries = flushed.entries, ?what, "flushed by the control socket");
                value(serde_json::to_value(flushed))
            }
            Err(error) => SocketReply::Error(error),
        },
        SocketCommand::Reload => {
            let (tell, told) = oneshot::channel();
            let sent = reload.send(tell).await.is_ok();
            match told.await {
                Ok(Ok(done)) if sent => SocketReply::Ok(Value::String(done)),
                Ok(Err(error)) => SocketReply::Error(error),
                _ => SocketReply::Error("the server is stopping".into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_they_are_written() {
        for (command, text) in [
            (SocketCommand::Status, r#"{"command":"status"}"#),
            (SocketCommand::Reload, r#"{"command":"reload"}"#),
            (SocketCommand::Flush(Flush::All), r#"{"command":"flush","what":"all"}"#),
            (
                SocketCommand::Flush(Flush::Name { name: "a.example".into(), subtree: true }),
                r#"{"command":"flush","what":"name","name":"a.example","subtree":true}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&command).unwrap(), text);
            assert_eq!(serde_json::from_str::<SocketCommand>(text).unwrap(), command);
        }
        assert!(serde_json::from_str::<SocketCommand>(r#"{"command":"stop"}"#).is_err());
    }

    #[tokio::test]
    async fn a_dead_servers_socket_makes_room_and_a_living_ones_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep").join(NAME);
        let first = Bound::new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Bound::new(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        std::mem::forget(first.place); // as after a crash: the file stays
        drop(first.listener);
        let second = Bound::new(&path).unwrap();
        drop(second);
        assert!(!path.exists());
    }
}
