"""The servers whose instructions are counted, and the requests that they are sent."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from . import paths, peers, proxy
from .callgrind import Request, instructions
from .load import BODY, WRONG

WRK = "POST /pixel HTTP/1.1\nHost: 127.0.0.1:8000\nContent-Type: application/json\nContent-Length: {length}\n"
PYTHON = """POST /pixel HTTP/1.1
Host: 127.0.0.1:8000
User-Agent: python-requests/2.32.5
Accept-Encoding: gzip, deflate
Accept: */*
Connection: keep-alive
Content-Length: {length}
Content-Type: application/json
"""
AB = """POST /pixel HTTP/1.0
Content-length: {length}
Content-type: application/json
Host: 127.0.0.1:8000
User-Agent: ApacheBench/2.3
Accept: */*
"""
AB_KEEP_ALIVE = AB.replace("Content-length", "Connection: Keep-Alive\nContent-length")
# As json.dumps() writes it.
SPACED = BODY.replace(":", ": ").replace(",", ", ")

USUAL, REJECTED = Request(WRK, BODY), Request(WRK, WRONG, 422)
# Of pixeld, in the order of the table: the request, and how instructions() sends it.
CASES = {
    "keep-alive": (USUAL, {}),
    "keep-alive, as python-requests sends it": (Request(PYTHON, SPACED), {}),
    "HTTP/1.0 with keep-alive, as `ab -k` sends it": (Request(AB_KEEP_ALIVE, BODY), {}),
    "HTTP/1.0, as `ab` sends it": (Request(AB, BODY), {"closes": True}),
    "`Connection: close`": (Request(WRK + "Connection: close\n", BODY), {"closes": True}),
    "a pixel that is rejected (422)": (REJECTED, {}),
}
PEERS = ["floor", "may_minihttp", "ntex", "actix-web", "xitca-web", "hyper", "axum"]


def pixeld_cases():
    return {name: instructions(pixeld, request, **how) for name, (request, how) in CASES.items()}


def peer_cases():
    found = {}
    for peer in peers.named(*PEERS):
        server = listening(peer.command)
        try:
            found[peer.name] = [instructions(server, USUAL),
                                instructions(server, REJECTED) if peer.refusal else None]
        except OSError as error:
            print(f"{peer.name} is left out: {error}", file=sys.stderr)
    return found


def nginx_cases():
    """One request at a time, for nginx does less for each the more it has at once."""
    sites = {"the site of the deployment guide": proxy.SEED_SITE,
             "the shipped site": (paths.ROOT / "nginx/pixeld.conf").read_text()}
    request = Request(AB_KEEP_ALIVE, BODY)
    return {name: instructions(nginx(site), request, connections=1) for name, site in sites.items()}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(command):
    """A server that takes its address as an argument."""
    @contextlib.contextmanager
    def server(_):
        address = ("127.0.0.1", free_port())
        yield [*command, "{}:{}".format(*address)], address, signal.SIGTERM
    return server


def pixeld_command(folder, port):
    """pixeld with its defaults but for one worker and where it listens."""
    path = Path(folder, "pixeld.toml")
    path.write_text(
        f'workers = 1\n[listen]\nhttp = ["127.0.0.1:{port}", "unix:{folder}/http.sock"]\n'
        f'control = "unix:{folder}/control.sock"\nadmin = "unix:{folder}/admin.sock"\n')
    return [str(paths.PIXELD), "--config", str(path)]


@contextlib.contextmanager
def pixeld(folder):
    port = free_port()
    yield pixeld_command(folder, port), ("127.0.0.1", port), signal.SIGTERM


# What Debian's nginx.conf has in effect, in one process.
NGINX = """
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log;
events { worker_connections 768; }
http {
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log FOLDER/access.log;
    gzip on;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    SITE
}
"""


def nginx(site):
    """nginx with a site, in front of a pixeld that is not counted."""
    @contextlib.contextmanager
    def server(folder):
        own, upstream = free_port(), free_port()
        text = NGINX.replace("SITE", site)
        text = text.replace("include pixeld-upstreams.conf;", (proxy.UPSTREAMS).read_text())
        text = re.sub(r"listen 80\b", f"listen 127.0.0.1:{own}", text)
        for old, new in ((proxy.SOCKET, f"{folder}/http.sock"), ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
                         ("/var/log/nginx/pixeld", folder), ("FOLDER", folder)):
            text = text.replace(old, new)
        path = Path(folder, "nginx.conf")
        path.write_text(text)
        process = subprocess.Popen(pixeld_command(folder, upstream), stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while not Path(folder, "http.sock").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            yield ["nginx", "-p", folder, "-c", path], ("127.0.0.1", own), signal.SIGQUIT
        finally:
            process.terminate()
            process.wait()
    return server
