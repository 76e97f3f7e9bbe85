//! The other side of a connection, for what real parts do not do on demand: refuse, reset, hang, drip, lie.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
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
    /// Nobody listens.
    Refuse,
    /// Passes a request on; when its answer comes, resets the connection instead.
    Reset,
    /// Takes the request and never answers.
    Hang,
    /// Passes everything on; each answer comes a second late, and drips.
    Slow,
    /// Answers 500 to a request.
    ServerError,
    /// Answers 429 to a request, and when to come again.
    TooMany,
    /// Answers 200 to a request, with a page of somebody else's.
    Garbage,
    /// Passes a request on; its answer ends in the middle.
    Truncate,
    /// Passes everything on, but for this answer, counted from 1: the connection is reset instead.
    Lose(usize),
    /// Passes everything on until a request holds these bytes, which it swallows and never answers.
    HangAt(&'static str),
    /// Passes everything on, but loses the answer to the first request that holds these bytes.
    LoseAnswerTo(&'static str),
}

/// How late an answer of [`Mode::Slow`] comes.
const LATE: Duration = Duration::from_secs(1);
/// Between two of its pieces.
const DRIP: Duration = Duration::from_millis(25);

/// Stands before a real part and fails on demand.
pub struct Proxy {
    pub origin: Url,
    address: SocketAddr,
    /// Keeps the port while nobody listens.
    _port: TcpSocket,
    door: watch::Sender<Door>,
    swallowed: Arc<Notify>,
    connections: Arc<AtomicUsize>,
    answers: Arc<AtomicUsize>,
}

/// What happens to those who come; nobody can while nobody listens.
#[derive(Clone)]
struct Door {
    mode: Mode,
    listener: Option<Arc<TcpListener>>,
}

/// Whether an answer was lost already.
type Lost = Arc<AtomicBool>;

impl Proxy {
    /// Before the part at `target`, passing everything on until told otherwise.
    pub async fn before(target: &str) -> Self {
        Self::that(Mode::Pass, target)
    }

    /// Before the part at `target`; `mode` is what happens from the beginning.
    pub fn that(mode: Mode, target: &str) -> Self {
        let target: Url = target.parse().unwrap();
        let there: SocketAddr = target.socket_addrs(|| None).unwrap()[0];
        let port = socket("127.0.0.1:0".parse().unwrap());
        let address = port.local_addr().unwrap();
        let mut origin: Url = format!("http://{address}").parse().unwrap();
        origin.set_path(target.path());
        let (door, mut doors) = watch::channel(Door { mode: Mode::Refuse, listener: None });
        let (swallowed, connections) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let (notify, counted, lost) = (Arc::clone(&swallowed), Arc::clone(&connections), Lost::default());
        let answers = Arc::<AtomicUsize>::default();
        let answered = Arc::clone(&answers);
        tokio::spawn(async move {
            loop {
                let Door { mode, listener } = doors.borrow_and_update().clone();
                let accepted = async {
                    match &listener {
                        Some(listener) => listener.accept().await,
                        None => std::future::pending().await,
                    }
                };
                let here = tokio::select! {
                    accepted = accepted => accepted.unwrap().0,
                    changed = doors.changed() => if changed.is_ok() { continue } else { return },
                };
                counted.fetch_add(1, Ordering::SeqCst);
                let (mut doors, notify, lost) = (doors.clone(), Arc::clone(&notify), Arc::clone(&lost));
                let answered = Arc::clone(&answered);
                tokio::spawn(async move {
                    // A change of mode ends the connections of the old one.
                    tokio::select! {
                        () = serve(mode, here, there, notify, lost, answered) => {}
                        _ = doors.changed() => {}
                    }
                });
            }
        });
        let proxy = Self { origin, address, _port: port, door, swallowed, connections, answers };
        proxy.set(mode);
        proxy
    }

    /// What happens to connections from now on; those that are open are closed.
    pub fn set(&self, mode: Mode) {
        self.door.send_modify(|door| {
            let listener = match mode {
                Mode::Refuse => None,
                _ => Some(door.listener.take().unwrap_or_else(|| Arc::new(socket(self.address).listen(1024).unwrap()))),
            };
            *door = Door { mode, listener };
        });
    }

    /// Waits until a request was swallowed by [`Mode::HangAt`].
    pub async fn swallowed(&self) {
        self.swallowed.notified().await;
    }

    /// Answers of [`Mode::Lose`] so far.
    pub fn answers(&self) -> usize {
        self.answers.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A socket that shares its address with others, one of which may listen.
fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn serve(
    mode: Mode,
    mut here: TcpStream,
    target: SocketAddr,
    swallowed: Arc<Notify>,
    lost: Lost,
    answers: Arc<AtomicUsize>,
) {
    match mode {
        Mode::Refuse => {}
        Mode::Hang => drop(tokio::io::copy(&mut here, &mut tokio::io::sink()).await),
        Mode::ServerError => answer(here, "500 X", "").await,
        Mode::TooMany => answer(here, "429 X\r\nretry-after: 1", "").await,
        Mode::Garbage => {
            answer(here, "200 OK\r\ncontent-type: text/html", "<!doctype html><title>Welcome to the lounge</title>")
                .await;
        }
        Mode::Pass => {
            let Ok(mut there) = TcpStream::connect(target).await else { return };
            let _ = copy_bidirectional(&mut here, &mut there).await;
        }
        Mode::Slow => {
            let Ok(there) = TcpStream::connect(target).await else { return };
            let _ = delay(here, there).await;
        }
        Mode::Reset | Mode::Truncate => {
            let Ok(there) = TcpStream::connect(target).await else { return };
            let _ = cut(mode, here, there).await;
        }
        Mode::Lose(number) => {
            let Ok(there) = TcpStream::connect(target).await else { return };
            let _ = lose(number, here, there, &answers).await;
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

/// Answers a request by itself: `head` is the status and the headers.
async fn answer(mut here: TcpStream, head: &str, body: &str) {
    read_head(&mut here).await;
    let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let _ = here.write_all(answer.as_bytes()).await;
    // Reads on, so that closing does not reset what was just written.
    let _ = here.shutdown().await;
    let _ = tokio::io::copy(&mut here, &mut tokio::io::sink()).await;
}

/// [`Mode::Slow`].
async fn delay(mut here: TcpStream, mut there: TcpStream) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut waits = true;
    loop {
        tokio::select! {
            read = here.read(&mut asked) => {
                let read @ 1.. = read? else { return Ok(()) };
                there.write_all(&asked[..read]).await?;
                waits = true;
            }
            read = there.read(&mut answered) => {
                let read @ 1.. = read? else { return Ok(()) };
                if std::mem::take(&mut waits) {
                    tokio::time::sleep(LATE).await;
                }
                for piece in answered[..read].chunks(read.div_ceil(4)) {
                    here.write_all(piece).await?;
                    tokio::time::sleep(DRIP).await;
                }
            }
        }
    }
}

/// [`Mode::Lose`].
async fn lose(number: usize, mut here: TcpStream, mut there: TcpStream, answers: &AtomicUsize) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut waits = true;
    loop {
        tokio::select! {
            read = here.read(&mut asked) => {
                let read @ 1.. = read? else { return Ok(()) };
                there.write_all(&asked[..read]).await?;
                waits = true;
            }
            read = there.read(&mut answered) => {
                let read @ 1.. = read? else { return Ok(()) };
                if std::mem::take(&mut waits) && answers.fetch_add(1, Ordering::SeqCst) + 1 == number {
                    return here.set_zero_linger();
                }
                here.write_all(&answered[..read]).await?;
            }
        }
    }
}

/// [`Mode::Reset`] and [`Mode::Truncate`]: what was asked for is done, and the answer never comes as a whole.
async fn cut(mode: Mode, mut here: TcpStream, mut there: TcpStream) -> std::io::Result<()> {
    let (mut asked, mut answered, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16], Vec::new());
    loop {
        tokio::select! {
            read = here.read(&mut asked) => {
                let read @ 1.. = read? else { return Ok(()) };
                there.write_all(&asked[..read]).await?;
            }
            read = there.read(&mut answered) => {
                let read @ 1.. = read? else { return Ok(()) };
                answer.extend_from_slice(&answered[..read]);
                let Some(middle) = middle(&answer) else { continue };
                if mode == Mode::Reset {
                    return here.set_zero_linger();
                }
                here.write_all(&answer[..middle]).await?;
                return here.shutdown().await;
            }
        }
    }
}

/// Where an answer is to end in the middle: in its body, or, where it has none, in its head; `None` while too little of it is there.
fn middle(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let nothing = text.starts_with("http/1.1 204") || text.contains("content-length: 0\r\n");
    match answer.len() - head {
        _ if nothing => Some(head / 2),
        0 | 1 => None,
        body => Some(head + body / 2),
    }
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}
