"""What is measured through nginx, on port 80."""

import subprocess
import sys
import time

from . import paths, peers, proxy
from .load import LOAD_CPU, SERVER_CPU, oha, wrk
from .rounds import in_turn, served

URL = "http://127.0.0.1/pixel"
# Until the answers fall behind.
RATES = [100, 250, 500, 1000, 2000, 3000, 4000, 6000, 8000, 10_000, 12_500, 15_000, 17_500, 20_000, 25_000,
         30_000, 40_000, 50_000]
CONNECTIONS = 128
BOTH = f"{SERVER_CPU},{LOAD_CPU}"


def proxy_step(rounds, seconds):
    """the shipped nginx site in front of pixeld, of the floor, and of nothing"""

    def measure(name):
        if name == "nginx `return 200`":
            proxy.install(site=proxy.RETURN_SITE)
            with proxy.start() as nginx:
                return both(nginx, None)
        proxy.install()
        with proxy.Upstream(name) as upstream, proxy.start() as nginx:
            return both(nginx, upstream)

    def both(nginx, upstream):
        wrk(64, 1, URL)
        before = upstream.usage() if upstream else None
        found = served(nginx, lambda seconds: wrk(64, seconds, URL), seconds)
        if upstream:
            after = upstream.usage()
            used = after.user + after.system - before.user - before.system
            found["upstream"] = 1e6 * used / found["answers"]
        if paths.OHA.exists():
            found["at_1000"] = oha(1000, seconds, 64, URL)
        return found

    return in_turn(rounds, {name: name for name in ("pixeld", "floor", "nginx `return 200`")}, measure)


def replaced(old, new):
    def edit(text):
        if old not in text:
            raise ValueError(f"the shipped site does not say {old!r} any more")
        return text.replace(old, new)
    return edit


VARIANTS = {
    "as shipped": None,
    "access_log off": replaced("server_name _;", "server_name _; access_log off;"),
    "access_log … buffer=64k flush=1s": replaced(
        "server_name _;", "server_name _; access_log /var/log/nginx/access.log combined buffer=64k flush=1s;"),
    "keepalive 16": replaced("keepalive 64;", "keepalive 16;"),
    "keepalive 256": replaced("keepalive 64;", "keepalive 256;"),
    "listen … reuseport": replaced("default_server;", "default_server reuseport;"),
    "keepalive_requests 100000": replaced("server_name _;", "server_name _; keepalive_requests 100000;"),
    "tcp_nodelay off": replaced("server_name _;", "server_name _; tcp_nodelay off;"),
    "proxy_buffering off": replaced("proxy_http_version 1.1;", "proxy_http_version 1.1; proxy_buffering off;"),
}


def directives_step(rounds, seconds):
    """what single directives of nginx bring"""

    def measure(edit):
        proxy.install(edit=edit)
        with proxy.Upstream("pixeld"), proxy.start() as nginx:
            wrk(256, 1, URL)
            return served(nginx, lambda seconds: wrk(256, seconds, URL), seconds)

    return in_turn(rounds, VARIANTS, measure)


COMMANDS = [
    "ab -n 10000 -c 100 -p data.json -T application/json http://127.0.0.1/pixel",
    "wrk -t12 -c1000 -d30s -s post.lua http://127.0.0.1/pixel",
]


def seed_commands_step(_, __):
    """the load tests of the deployment guide, as they stand, twice in a row"""
    found = {}
    # As on a c5.xlarge, with Debian's own worker_connections.
    proxy.install(workers=4, connections=768)
    with proxy.Upstream("pixeld", BOTH), proxy.start(BOTH):
        found["as shipped, pixeld on this host"] = twice()
    proxy.install(workers=4, connections=768)
    proxy.add_upstream("127.0.0.1:8000")
    peers.prepare()
    with proxy.Upstream("pixeld", BOTH), peers.PIXELD.start(BOTH), proxy.start(BOTH):
        found["as shipped, and a second pixeld over TCP"] = twice()
    if peers.SEED.command[0].exists():
        proxy.install(site=proxy.SEED_SITE, workers=4, connections=768)
        with peers.SEED.start(BOTH), proxy.start(BOTH):
            found["the guide's site and application"] = twice()
    return found


def twice():
    told = []
    for command in COMMANDS * 2:
        done = subprocess.run(command.split(), cwd=paths.LOAD, capture_output=True, text=True, check=False,
                              timeout=120)
        sockets = subprocess.run(["ss", "-s"], capture_output=True, text=True, check=False).stdout
        told.append({"command": command, "status": done.returncode, "output": done.stdout + done.stderr,
                     "sockets": sockets, "waiting": waiting()})
        print(f"{command}: {done.returncode}, {told[-1]['waiting']} in TIME-WAIT", file=sys.stderr)
    return told


def waiting():
    """Connections in TIME-WAIT, by the port of nginx or of an upstream."""
    done = subprocess.run(["ss", "-Htan", "state", "time-wait"], capture_output=True, text=True, check=False)
    ends = [[field.rpartition(":")[2] for field in line.split()[2:4]] for line in done.stdout.splitlines()]
    return {port: sum(port in pair for pair in ends) for port in ("80", "8000")}


def ramp_step(_, seconds):
    """a rising rate through nginx, for pixeld and for the stack that it replaces"""
    if not paths.OHA.exists():
        raise OSError("oha is not there; see `bench/run` for how it is built")
    found = {}
    proxy.install()
    with proxy.Upstream("pixeld"), proxy.start():
        found["nginx + pixeld"] = ramp(seconds)
    if peers.SEED.command[0].exists():
        proxy.install(site=proxy.SEED_SITE)
        with peers.SEED.start(), proxy.start():
            found["nginx + FastAPI, Gunicorn + uvicorn"] = ramp(seconds)
    return found


def ramp(seconds):
    found = []
    oha(200, 1, CONNECTIONS, URL)
    for rate in RATES:
        found.append(oha(rate, seconds, CONNECTIONS, URL))
        print(f"{rate}/s: {found[-1]['rate']:,.0f}/s, p99 {found[-1]['p99'] / 1000:.1f} ms", file=sys.stderr)
        # Beyond saturation there is nothing to see; what is left over is let go.
        if found[-1]["rate"] < 0.8 * rate:
            break
        time.sleep(0.5)
    return found
