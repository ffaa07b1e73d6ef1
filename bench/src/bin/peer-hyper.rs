//! hyper and nothing around it, on a tokio runtime of one thread.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use pixeld_bench::{REFUSED, address, answer};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

async fn pixel(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::default());
    if request.method() != Method::POST || request.uri().path() != "/pixel" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    }
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    if let Some(body) = body.ok().and_then(|body| answer(&body).ok()) {
        *response.body_mut() = body.into();
    } else {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        *response.body_mut() = REFUSED.into();
    }
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address()).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(pixel)));
    }
}
