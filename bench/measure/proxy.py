"""nginx as it is shipped, in front of several upstreams. /etc/nginx and /run are our own copies here."""

import os
import re
import shutil
from pathlib import Path

from . import paths, peers
from .load import SERVER_CPU
from .process import Server

NGINX = Path("/etc/nginx")
SOCKET = "/run/pixeld/http.sock"
SITE = NGINX / "conf.d" / "pixeld.conf"
UPSTREAMS = paths.ROOT / "nginx" / "pixeld-upstreams.conf"

SEED_SITE = """
upstream pixel_servers {
    server 127.0.0.1:8000;
    keepalive 64;
}
server {
    listen 80;
    location / {
        proxy_pass http://pixel_servers;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
    }
}
"""
RETURN_SITE = """
server {
    listen 80;
    location = /pixel {
        default_type application/json;
        return 200 '{"status":"ok","received":{"x":1,"y":2,"channel":"R","value":100}}';
    }
}
"""


def install(site=None, edit=None, main=None, workers=1, connections=8192):
    """Debian's nginx.conf with the shipped site, or another one. `edit` changes the site's text, `main`
    that of nginx.conf."""
    for old in [*(NGINX / "conf.d").iterdir(), *(NGINX / "sites-enabled").iterdir()]:
        old.unlink()
    shutil.copy(UPSTREAMS, NGINX)
    Path("/var/log/nginx/pixeld").mkdir(exist_ok=True)
    text = site or (paths.ROOT / "nginx" / "pixeld.conf").read_text()
    SITE.write_text(edit(text) if edit else text)
    original = NGINX / "nginx.conf.debian"
    if not original.exists():
        shutil.copy(NGINX / "nginx.conf", original)
    configuration = original.read_text()
    configuration = re.sub(r"worker_processes .*;", f"worker_processes {workers};", configuration)
    configuration = re.sub(r"worker_connections .*;", f"worker_connections {connections};", configuration)
    configuration = main(configuration) if main else configuration
    (NGINX / "nginx.conf").write_text(configuration)


def add_upstream(address):
    """Two lines more, as for another host."""
    with open(NGINX / "pixeld-upstreams.conf", "a") as file:
        file.write(f"server {address} max_fails=1 fail_timeout=1s;\nserver {address} max_fails=0 backup;\n")


def start(cpus=SERVER_CPU):
    return Server(["nginx", "-g", "daemon off;"], cpus, address=("127.0.0.1", 80))


class Upstream(Server):
    """pixeld or the floor behind the socket that the shipped site names."""

    def __init__(self, name, cpus=SERVER_CPU):
        Path(SOCKET).unlink(missing_ok=True)
        floor = [paths.PEERS / "floor", SOCKET]
        super().__init__(peers.pixeld(f"unix:{SOCKET}") if name == "pixeld" else floor, cpus, address=SOCKET)

    def __enter__(self):
        super().__enter__()
        # The socket unit lets nginx in by its group.
        os.chmod(SOCKET, 0o666)
        return self
