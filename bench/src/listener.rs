//! A small HTTP server on a free port.

use std::{convert::Infallible, future::Future};

use http_body_util::combinators::BoxBody;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use url::Url;

/// What was asked; its body may still be on its way.
pub type Asked = Request<Incoming>;

/// What is answered.
pub type Told = Response<BoxBody<Bytes, Infallible>>;

/// A free port, and the URL that leads there.
pub async fn bind() -> anyhow::Result<(TcpListener, Url)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?).parse()?;
    Ok((listener, origin))
}

/// Answers each request by `answer`, until this process ends.
pub fn serve<F, A>(listener: TcpListener, answer: F)
where
    F: Fn(Asked) -> A + Clone + Send + 'static,
    A: Future<Output = Told> + Send + 'static,
{
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let serve = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            // Else a small answer may wait for the other side's acknowledgement.
            let _ = stream.set_nodelay(true);
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
        }
    });
}
