//! axum on a tokio runtime of one thread, as pixeld's workers are.

use axum::{
    Json, Router,
    extract::rejection::JsonRejection,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use pixeld_bench::{Accepted, Pixel, REFUSED, address};

async fn pixel(pixel: Result<Json<Pixel>, JsonRejection>) -> Response {
    match pixel {
        Ok(Json(pixel)) => Json(Accepted::from(pixel)).into_response(),
        Err(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, [(CONTENT_TYPE, "application/json")], REFUSED).into_response()
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address()).await?;
    axum::serve(listener, Router::new().route("/pixel", post(pixel))).await
}
