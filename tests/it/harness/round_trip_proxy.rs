//! A line between the gateway and one of its servers that counts round trips.
//!
//! It holds every piece of what the gateway says for a moment, so that all of a pipelined batch counts as one trip and not as
//! many as the scheduler cut it into.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Longer than a batch takes to be written, shorter than anybody minds.
const HOLD: Duration = Duration::from_millis(15);

pub struct RoundTripProxy {
    pub port: u16,
    trips: Arc<AtomicU32>,
}

impl RoundTripProxy {
    /// Listens on a port of its own and leads to a unix socket.
    pub async fn to(socket: PathBuf) -> RoundTripProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let trips = Arc::new(AtomicU32::new(0));
        let counted = trips.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.expect("the server listens");
                tokio::spawn(carry(client, server, counted.clone()));
            }
        });
        RoundTripProxy { port, trips }
    }

    /// Round trips since the last question.
    pub fn take_round_trips(&self) -> u32 {
        self.trips.swap(0, Ordering::SeqCst)
    }
}

async fn carry(mut client: TcpStream, mut server: UnixStream, trips: Arc<AtomicU32>) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let asking = async {
        let mut buffer = vec![0; 1 << 16];
        // A connection that follows the catalogue's changes asks by the clock, not for a request.
        let mut follows = false;
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let mut batch = buffer[..read].to_vec();
            while let Ok(Ok(more @ 1..)) = tokio::time::timeout(HOLD, from_client.read(&mut buffer)).await {
                batch.extend(&buffer[..more]);
            }
            follows |= batch.windows(7).any(|window| window == b"listen ");
            if !follows {
                trips.fetch_add(1, Ordering::SeqCst);
            }
            if to_server.write_all(&batch).await.is_err() {
                return;
            }
        }
    };
    let answering = tokio::io::copy(&mut from_server, &mut to_client);
    // Whichever side goes first takes the line down.
    tokio::select! {
        () = asking => {}
        ended = answering => drop(ended),
    }
}
