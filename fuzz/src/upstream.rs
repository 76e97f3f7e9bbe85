//! Whoever a function asks: notes what it was asked, and answers.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use url::Url;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Such as `POST`.
    pub method: String,
    /// Where to.
    pub url: Url,
    /// What came along.
    pub body: Vec<u8>,
}

/// Answers a request: a status line's end, and JSON.
pub type Answer = fn(&Asked) -> (&'static str, String);

/// A server on loopback, on threads of its own.
pub struct Upstream {
    /// Where it is.
    pub url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Upstream {
    /// Starts it.
    pub fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let url: Url = format!("http://{address}/").parse().expect("a URL");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (base, all) = (url.clone(), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (base, all) = (base.clone(), Arc::clone(&all));
                thread::spawn(move || serve(stream, &base, &all, answer));
            }
        });
        Self { url, asked }
    }

    /// What it was asked since the last time.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One connection, until the other side closes it.
fn serve(stream: TcpStream, base: &Url, all: &Mutex<Vec<Asked>>, answer: Answer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        reader.read_exact(&mut body)?;
        let mut words = head.first().map(|line| line.split(' ')).into_iter().flatten();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let asked = Asked { method: method.to_owned(), url: base.join(target).map_err(io::Error::other)?, body };
        let (status, body) = answer(&asked);
        all.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        writer.write_all(answer.as_bytes())?;
    }
}
