//! A TCP proxy that counts the round round_trips between the gateway and a unix socket.
//!
//! It delays what the gateway sends for a moment, so that a pipelined batch counts as one round trip however it is split into
//! packets.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Longer than it takes to write a batch.
const BATCH_DELAY: Duration = Duration::from_millis(15);

pub(crate) struct RoundTripProxy {
    pub port: u16,
    round_trips: Arc<AtomicU32>,
}

impl RoundTripProxy {
    /// Listens on a free port and forwards to a unix socket.
    pub(crate) async fn to(socket: PathBuf) -> RoundTripProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let round_trips = Arc::new(AtomicU32::new(0));
        let counter = round_trips.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.expect("the server listens");
                tokio::spawn(forward(client, server, counter.clone()));
            }
        });
        RoundTripProxy { port, round_trips }
    }

    /// The number of round round_trips since the last call.
    pub(crate) fn take_round_trips(&self) -> u32 {
        self.round_trips.swap(0, Ordering::SeqCst)
    }
}

async fn forward(mut client: TcpStream, mut server: UnixStream, round_trips: Arc<AtomicU32>) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let requests = async {
        let mut buffer = vec![0; 1 << 16];
        // The connections that listen for catalogue changes and that fill the search index read independently of requests.
        const BACKGROUND: [&[u8]; 2] = [b"listen ", b"from category c where shown"];
        let mut is_background = false;
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let mut batch = buffer[..read].to_vec();
            while let Ok(Ok(more @ 1..)) = tokio::time::timeout(BATCH_DELAY, from_client.read(&mut buffer)).await {
                batch.extend(&buffer[..more]);
            }
            is_background |= BACKGROUND.iter().any(|text| batch.windows(text.len()).any(|window| window == *text));
            if !is_background {
                round_trips.fetch_add(1, Ordering::SeqCst);
            }
            if to_server.write_all(&batch).await.is_err() {
                return;
            }
        }
    };
    let responses = tokio::io::copy(&mut from_server, &mut to_client);
    // Either side closes the connection.
    tokio::select! {
        () = requests => {}
        result = responses => drop(result),
    }
}
