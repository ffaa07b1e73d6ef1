"""Who is measured, how each is started, and what each leaves out."""

import http.client
import json
from dataclasses import dataclass, field

from . import paths
from .load import BODY, SERVER_CPU, WRONG
from .process import Server

ACCEPTED = {"status": "ok", "received": json.loads(BODY)}


@dataclass
class Peer:
    name: str
    command: list
    leaves_out: str
    # What a wrong pixel gets; None where nobody looks.
    refusal: int | None = 422
    env: dict = field(default_factory=dict)

    def start(self, cpus=SERVER_CPU):
        return Server(self.command, cpus, folder=paths.BENCH / "peers", env=self.env)

    def check(self, address=("127.0.0.1", 8000)):
        """It does what it is measured for."""
        told = post(BODY, address)
        if told != (200, ACCEPTED):
            raise OSError(f"{self.name} answers {told} to a pixel")
        if self.refusal and post(WRONG, address)[0] != self.refusal:
            raise OSError(f"{self.name} does not refuse what is no pixel")


def post(body, address):
    connection = http.client.HTTPConnection(*address, timeout=30)
    connection.request("POST", "/pixel", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    status, text = answer.status, answer.read()
    connection.close()
    return status, json.loads(text)


def pixeld(listen="127.0.0.1:8000", workers=None):
    """pixeld with its defaults; only where it listens is said."""
    name = "/run/pixeld/" + ("unix" if listen.startswith("unix:") else "tcp")
    with open(f"{name}.toml", "w") as file:
        file.write("" if workers is None else f"workers = {workers}\n")
        file.write(f'[listen]\nhttp = ["{listen}"]\n')
        file.write(f'control = "unix:{name}-control.sock"\nadmin = "unix:{name}-admin.sock"\n')
    return [paths.PIXELD, "--config", f"{name}.toml"]


def compiled(name):
    return [paths.PEERS / f"peer-{name}"]


FRAMEWORK = "deadlines beyond its defaults, counters, handoff at a restart"
FLOOR = Peer("floor", [paths.PEERS / "floor"], "all: it reads, and writes a fixed response", None)
PIXELD = Peer("pixeld", [], "none: all limits, deadlines and counters are on")
NGINX = Peer("nginx `return 200`", ["nginx", "-c", "/run/pixeld/return.conf", "-g", "daemon off;"],
             "parsing of bodies, validation (its access log is off)", None)


def seed(workers=1):
    """The deployment guide's application, with as many workers as it has CPUs."""
    command = [paths.PYTHON / "gunicorn", "-k", "uvicorn.workers.UvicornWorker", "main:app", "-w", workers,
               "-b", "127.0.0.1:8000", "--chdir", paths.ROOT / "tests" / "it" / "reference"]
    return Peer("FastAPI, Gunicorn + uvicorn", command,
                "limits and deadlines (this is the application that pixeld replaces)",
                env={"PYTHONDONTWRITEBYTECODE": "1"})


SEED = seed()

ALL = [
    FLOOR,
    PIXELD,
    Peer("may_minihttp", compiled("may"), "Host, chunked bodies, limits of bodies, all deadlines"),
    Peer("ntex", compiled("ntex"), FRAMEWORK),
    Peer("actix-web", compiled("actix"), FRAMEWORK),
    Peer("xitca-web", compiled("xitca"), FRAMEWORK),
    Peer("hyper", compiled("hyper"), "limits of bodies, deadlines for bodies, counters"),
    Peer("axum", compiled("axum"), FRAMEWORK),
    NGINX,
    Peer("Go net/http", [paths.GO_SERVER], "all deadlines (none by default), limits of bodies"),
    Peer("Bun", [paths.BUN, "server.ts"], "deadlines beyond its idle timeout"),
    SEED,
    Peer("FastAPI, Granian",
         [paths.PYTHON / "granian", "--interface", "asgi", "--workers", "1", "--port", "8000",
          "--working-dir", paths.ROOT / "tests" / "it" / "reference", "main:app"],
         "limits and deadlines", env={"PYTHONDONTWRITEBYTECODE": "1"}),
]


def prepare():
    PIXELD.command = pixeld()
    with open("/run/pixeld/return.conf", "w") as file:
        file.write(RETURN)


def named(*names):
    return [peer for peer in ALL if peer.name in names]


# nginx alone, on port 8000 like all others.
RETURN = """
user www-data;
worker_processes 1;
pid /run/pixeld/return.pid;
error_log stderr;
worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
    access_log off;
    keepalive_requests 1000000;
    server {
        listen 127.0.0.1:8000 backlog=4096;
        location = /pixel {
            default_type application/json;
            return 200 '{"status":"ok","received":{"x":1,"y":2,"channel":"R","value":100}}';
        }
    }
}
"""
