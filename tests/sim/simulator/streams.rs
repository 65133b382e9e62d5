//! A server's side of a connection, with all that servers do there.

use super::book::Event;
use super::network::Network;
use super::world::Tcp;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{sleep, timeout};

/// How long a server that reorders waits for a second question.
const GATHERS: Duration = Duration::from_millis(100);

/// Serves a connection until one side has had enough.
pub async fn serve(network: Network, address: SocketAddr, stream: DuplexStream) {
    network.state().streams += 1;
    let _ = talk(&network, address, stream).await; // that the other side has gone is no news
    network.state().streams -= 1;
}

async fn talk(network: &Network, address: SocketAddr, mut stream: DuplexStream) -> io::Result<()> {
    let server = network.state().server(address).1;
    let way = Duration::from_millis(u64::from(server.latency));
    let mut waiting: Vec<Vec<u8>> = Vec::new();
    loop {
        let next = read(&mut stream);
        let query = match timeout(GATHERS, next).await {
            Ok(query) => Some(query?),
            // `read` gives up at a message's border only: who waits here has sent none
            Err(_) if waiting.is_empty() => Some(read(&mut stream).await?),
            Err(_) => None,
        };
        if let Some(query) = query {
            network.state().leaves(0, address, &query);
            waiting.push(query);
        }
        if server.tcp == Tcp::Reorders && waiting.len() == 1 && network.state().dice.chance(900) {
            continue; // until there is a second one, or patience ends
        }
        sleep(way).await;
        let down = server.is_down(network.state().book.now());
        if down.is_some() {
            return Ok(()); // it died, and its connections with it
        }
        while let Some(query) = waiting.pop() {
            match server.tcp {
                Tcp::Mute => continue,
                Tcp::HalfCloses => {
                    stream.shutdown().await?;
                    return drain(&mut stream).await;
                }
                Tcp::Babbles => {
                    stream.write_all(&[0, 3, 1, 2, 3, 0, 1, 9, 0xff, 0xff]).await?;
                    return drain(&mut stream).await;
                }
                _ => {}
            }
            let reply = network.state().reply(address, &query, true);
            let Some(reply) = reply else { continue };
            let framed = [&(reply.octets.len() as u16).to_be_bytes(), &reply.octets[..]].concat();
            if server.tcp == Tcp::Breaks {
                return stream.write_all(&framed[..framed.len() / 2]).await;
            }
            {
                let mut state = network.state();
                state.learn(reply.facts);
                let kind = if server.tcp == Tcp::Cuts { "cut over TCP" } else { "over TCP" };
                state.book.note(Event::Came(0, address, kind, reply.octets));
            }
            stream.write_all(&framed).await?;
            if server.tcp == Tcp::ClosesAfterOne {
                return stream.shutdown().await;
            }
        }
    }
}

/// The next message.
async fn read(stream: &mut DuplexStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Takes what still comes, until the other side closes.
async fn drain(stream: &mut DuplexStream) -> io::Result<()> {
    let mut octets = [0; 512];
    while stream.read(&mut octets).await? > 0 {}
    Ok(())
}
