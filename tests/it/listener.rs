//! An HTTP server whose answers a test makes, for as long as the test lives.

use std::{convert::Infallible, future::Future};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use url::Url;

/// What was asked, with its whole body.
pub type Asked = Request<Bytes>;

/// What is answered.
pub type Told = Response<Full<Bytes>>;

/// An answer with this status and body.
pub fn told(status: u16, body: impl Into<Bytes>) -> Told {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(body.into())).unwrap()
}

/// Starts it on a free port; each request is answered by `answer`.
pub async fn listen<F, A>(answer: F) -> Url
where
    F: Fn(Asked) -> A + Clone + Send + 'static,
    A: Future<Output = Told> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let serve = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    Ok::<_, Infallible>(answer(Request::from_parts(head, body)).await)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
        }
    });
    origin
}
