//! The other side of a connection, for what real parts do not do on demand: refuse, reset, hang, drip, lie.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};
use url::Url;

/// An HTTP server that answers every request with the same bytes, written as they are.
pub struct Raw {
    pub origin: Url,
    hits: Arc<AtomicUsize>,
}

/// What [`Raw`] does after reading a request's head.
#[derive(Clone)]
pub enum Reply {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends these bytes, then the second ones for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// Sends these bytes and then nothing, keeping the connection.
    Silence(Vec<u8>),
}

impl Reply {
    /// A whole response with a body.
    pub fn body(content_type: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n", body.len());
        Self::Bytes([head.as_bytes(), body].concat())
    }

    /// A response without a body.
    pub fn status(status: u16) -> Self {
        Self::Bytes(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").into_bytes())
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes())
    }
}

impl Raw {
    /// Starts it.
    pub async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let hits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&hits);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (reply, counted) = (reply.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    read_head(&mut stream).await;
                    counted.fetch_add(1, Ordering::SeqCst);
                    match reply {
                        Reply::Bytes(bytes) => {
                            let _ = stream.write_all(&bytes).await;
                        }
                        Reply::Endless(head, chunk) => {
                            let _ = stream.write_all(&head).await;
                            while stream.write_all(&chunk).await.is_ok() {}
                        }
                        Reply::Silence(head) => {
                            let _ = stream.write_all(&head).await;
                            // Until the other side goes away.
                            let _ = stream.read(&mut [0]).await;
                        }
                    }
                });
            }
        });
        Self { origin, hits }
    }

    /// Requests so far.
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
}

/// What a [`Proxy`] does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Closes at once.
    Refuse,
    /// Answers 500 to a request.
    ServerError,
    /// Takes the request and never answers.
    Hang,
    /// Passes everything on until a request holds these bytes, which it swallows and never answers.
    HangAt(&'static str),
    /// Passes everything on, but loses the answer to the first request that holds these bytes.
    LoseAnswerTo(&'static str),
}

/// Stands before a real part and fails on demand.
pub struct Proxy {
    pub origin: Url,
    mode: watch::Sender<Mode>,
    swallowed: Arc<Notify>,
}

/// Whether an answer was lost already.
type Lost = Arc<AtomicBool>;

impl Proxy {
    /// Before the part at `target`, passing everything on until told otherwise.
    pub async fn before(target: &str) -> Self {
        let target: Url = target.parse().unwrap();
        let address: SocketAddr = target.socket_addrs(|| None).unwrap()[0];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut origin: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        origin.set_path(target.path());
        let (mode, modes) = watch::channel(Mode::Pass);
        let swallowed = Arc::new(Notify::new());
        let notify = Arc::clone(&swallowed);
        let lost = Lost::default();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut modes, notify, lost) = (modes.clone(), Arc::clone(&notify), Arc::clone(&lost));
                tokio::spawn(async move {
                    let mode = *modes.borrow_and_update();
                    // A change of mode ends the connections of the old one.
                    tokio::select! {
                        () = serve(mode, stream, address, notify, lost) => {}
                        _ = modes.changed() => {}
                    }
                });
            }
        });
        Self { origin, mode, swallowed }
    }

    /// What happens to connections from now on; those that are open are closed.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Waits until a request was swallowed by [`Mode::HangAt`].
    pub async fn swallowed(&self) {
        self.swallowed.notified().await;
    }
}

async fn serve(mode: Mode, mut here: TcpStream, target: SocketAddr, swallowed: Arc<Notify>, lost: Lost) {
    match mode {
        Mode::Refuse => {}
        Mode::Hang => drop(tokio::io::copy(&mut here, &mut tokio::io::sink()).await),
        Mode::ServerError => {
            read_head(&mut here).await;
            let _ = here.write_all(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            // Reads on, so that closing does not reset what was just written.
            let _ = here.shutdown().await;
            let _ = tokio::io::copy(&mut here, &mut tokio::io::sink()).await;
        }
        Mode::Pass => {
            let Ok(mut there) = TcpStream::connect(target).await else { return };
            let _ = copy_bidirectional(&mut here, &mut there).await;
        }
        Mode::LoseAnswerTo(needle) => {
            let Ok(mut there) = TcpStream::connect(target).await else { return };
            let mut chunk = vec![0; 1 << 16];
            let Ok(read @ 1..) = here.read(&mut chunk).await else { return };
            let _ = there.write_all(&chunk[..read]).await;
            if holds(&chunk[..read], needle) && !lost.swap(true, Ordering::SeqCst) {
                // It was carried out once it is answered.
                let _ = there.read(&mut chunk).await;
            } else {
                let _ = copy_bidirectional(&mut here, &mut there).await;
            }
        }
        Mode::HangAt(needle) => {
            let Ok(there) = TcpStream::connect(target).await else { return };
            let (mut from_here, mut to_here) = here.into_split();
            let (mut from_there, mut to_there) = there.into_split();
            let back = tokio::spawn(async move { tokio::io::copy(&mut from_there, &mut to_here).await });
            let mut chunk = vec![0; 1 << 16];
            while let Ok(read @ 1..) = from_here.read(&mut chunk).await {
                if holds(&chunk[..read], needle) {
                    swallowed.notify_one();
                    let _ = tokio::io::copy(&mut from_here, &mut tokio::io::sink()).await;
                } else if to_there.write_all(&chunk[..read]).await.is_err() {
                    break;
                }
            }
            back.abort();
        }
    }
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}
