//! ntex on tokio, one worker for each CPU that it may use.

use std::thread::available_parallelism;

use ntex::web::{self, App, HttpResponse, HttpServer, error::JsonPayloadError, types::Json};
use pixeld_bench::{Accepted, Pixel, REFUSED, address};

async fn pixel(pixel: Result<Json<Pixel>, JsonPayloadError>) -> HttpResponse {
    match pixel {
        Ok(pixel) => HttpResponse::Ok().json(&Accepted::from(pixel.into_inner())),
        Err(_) => HttpResponse::UnprocessableEntity().content_type("application/json").body(REFUSED),
    }
}

#[ntex::main]
async fn main() -> std::io::Result<()> {
    HttpServer::new(async || App::new().route("/pixel", web::post().to(pixel)))
        .workers(available_parallelism()?.get())
        .bind(address())?
        .run()
        .await
}
