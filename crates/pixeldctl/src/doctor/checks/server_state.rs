//! The responses of the servers that nginx passes requests to.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// The response to `GET /pixel`, which pixeld rejects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerState {
    /// 405: a pixeld that serves.
    Serving,
    /// 503: a pixeld that is drained.
    Drained,
    /// The first line of any other response.
    Other(String),
    /// No response, with the reason.
    Silent(String),
    /// This user has no permission to connect.
    Forbidden,
}

/// Queries all servers at once: `unix:/path`, `address:port`, `name`.
pub async fn ask_all(servers: Vec<String>) -> Vec<(String, ServerState)> {
    join_all(servers.into_iter().map(async |server| {
        let state = ask(&server).await;
        (server, state)
    }))
    .await
}

async fn ask(server: &str) -> ServerState {
    /// Long enough for a busy server, and short enough for the operator.
    const LIMIT: Duration = Duration::from_secs(2);

    match timeout(LIMIT, first_line(server)).await {
        Ok(Ok(line)) => match line.split(' ').nth(1) {
            Some("405") => ServerState::Serving,
            Some("503") => ServerState::Drained,
            _ => ServerState::Other(line.trim_end().into()),
        },
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => ServerState::Forbidden,
        Ok(Err(error)) => ServerState::Silent(error.to_string()),
        Err(_) => ServerState::Silent(format!("no response within {}", humantime::format_duration(LIMIT))),
    }
}

async fn first_line(server: &str) -> io::Result<String> {
    if let Some(path) = server.strip_prefix("unix:") {
        return get(UnixStream::connect(path).await?).await;
    }
    let has_port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let is_complete = server.parse::<SocketAddr>().is_ok() || has_port;
    let address = if is_complete { server.to_owned() } else { format!("{server}:80") };
    get(TcpStream::connect(address).await?).await
}

async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
    /// Bounds the line of a service with another protocol.
    const MAX_LINE: u64 = 200;

    stream.write_all(b"GET /pixel HTTP/1.1\r\nHost: pixeld\r\nConnection: close\r\n\r\n").await?;
    let mut line = Vec::new();
    BufReader::new(stream).take(MAX_LINE).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(String::from_utf8_lossy(&line).into())
    }
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, spawn};

    use super::*;

    /// Returns the state of a server that sends this to each client, then closes the connection.
    async fn asked(response: &'static str) -> ServerState {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = [0; 64];
            let length = client.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /pixel HTTP/1.1\r\n"));
            client.write_all(response.as_bytes()).await.unwrap();
        });
        let state = ask(&address.to_string()).await;
        serving.await.unwrap();
        state
    }

    #[tokio::test]
    async fn status_of_the_response_decides() {
        assert_eq!(asked("HTTP/1.1 405 Method Not Allowed\r\n\r\n").await, ServerState::Serving);
        assert_eq!(asked("HTTP/1.1 503 Service Unavailable\r\n\r\n").await, ServerState::Drained);
        assert_eq!(asked("HTTP/1.1 200 OK\r\n\r\n").await, ServerState::Other("HTTP/1.1 200 OK".into()));
        assert!(matches!(asked("").await, ServerState::Silent(_)));
        assert!(matches!(ask("unix:/nowhere/http.sock").await, ServerState::Silent(_)));
    }
}
