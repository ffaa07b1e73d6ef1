//! ntex on tokio, one worker for each CPU that it may use.

use std::thread::available_parallelism;

use ntex::web::{self, App, HttpResponse, HttpServer};
use pixeld_bench::{ADDRESS, Accepted, Pixel, REFUSED};

async fn pixel(pixel: web::types::Json<Pixel>) -> HttpResponse {
    HttpResponse::Ok().json(&Accepted::from(pixel.into_inner()))
}

#[ntex::main]
async fn main() -> std::io::Result<()> {
    HttpServer::new(async || {
        let json = web::types::JsonConfig::default().error_handler(|error, _| {
            let answer = HttpResponse::UnprocessableEntity().content_type("application/json").body(REFUSED);
            web::error::InternalError::from_response(error, answer).into()
        });
        App::new().state(json).route("/pixel", web::post().to(pixel))
    })
    .workers(available_parallelism()?.get())
    .bind(ADDRESS)?
    .run()
    .await
}
