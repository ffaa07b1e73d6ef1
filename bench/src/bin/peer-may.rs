//! `may_minihttp`: coroutines with stacks of their own.

use std::{
    io::{self, Read},
    thread::available_parallelism,
};

use may_minihttp::{HttpServer, HttpService, Request, Response};
use pixeld_bench::{REFUSED, address, answer};

#[derive(Clone)]
struct Pixels;

impl HttpService for Pixels {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        if request.method() != "POST" || request.path() != "/pixel" {
            response.status_code(404, "Not Found");
            return Ok(());
        }
        let mut body = Vec::new();
        request.body().read_to_end(&mut body)?;
        response.header("content-type: application/json");
        if let Ok(body) = answer(&body) {
            response.body_vec(body);
        } else {
            response.status_code(422, "Unprocessable Entity");
            response.body(REFUSED);
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    may::config().set_workers(available_parallelism()?.get());
    let server = HttpServer(Pixels).start(address())?;
    server.join().map_err(|_| io::Error::other("the server has panicked"))
}
