//! xitca-web, one worker for each CPU that it may use.

use std::thread::available_parallelism;

use pixeld_bench::{REFUSED, address, answer};
use xitca_web::{
    App,
    handler::handler_service,
    http::{
        StatusCode, WebResponse,
        header::{CONTENT_TYPE, HeaderValue},
    },
    route::post,
};

async fn pixel(body: Vec<u8>) -> WebResponse {
    let (status, body) = match answer(&body) {
        Ok(body) => (StatusCode::OK, body),
        Err(_) => (StatusCode::UNPROCESSABLE_ENTITY, REFUSED.into()),
    };
    let mut response = WebResponse::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn main() -> std::io::Result<()> {
    App::new()
        .at("/pixel", post(handler_service(pixel)))
        .serve()
        .worker_threads(available_parallelism()?.get())
        .bind(address())?
        .run()
        .wait()
}
