//! actix-web, one worker for each CPU that it may use.

use std::thread::available_parallelism;

use actix_web::{App, HttpResponse, HttpServer, web};
use pixeld_bench::{Accepted, Pixel, REFUSED, address};

async fn pixel(pixel: web::Json<Pixel>) -> HttpResponse {
    HttpResponse::Ok().json(Accepted::from(pixel.into_inner()))
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    HttpServer::new(|| {
        let json = web::JsonConfig::default().error_handler(|error, _| {
            let answer = HttpResponse::UnprocessableEntity().content_type("application/json").body(REFUSED);
            actix_web::error::InternalError::from_response(error, answer).into()
        });
        App::new().app_data(json).route("/pixel", web::post().to(pixel))
    })
    .workers(available_parallelism()?.get())
    .bind(address())?
    .run()
    .await
}
