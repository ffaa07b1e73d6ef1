"""What is measured through nginx, on port 80."""

import json
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
            raise ValueError(f"the file does not say {old!r} any more")
        return text.replace(old, new)
    return edit


def site(old, new):
    return {"edit": replaced(old, new)}


LOG = "access_log /var/log/nginx/pixeld/access.log pixeld buffer=64k flush=5s;"
VARIANTS = {
    "as shipped": {},
    "access_log off": site(LOG, "access_log off;"),
    "access_log without buffer": site(LOG, LOG.replace(" buffer=64k flush=5s", "")),
    "round robin instead of least_conn": site("least_conn;", ""),
    "listen … reuseport": site("default_server;", "default_server reuseport;"),
    "keepalive_requests 100000": site("server_name _;", "server_name _; keepalive_requests 100000;"),
    "tcp_nodelay off": site("server_name _;", "server_name _; tcp_nodelay off;"),
    "proxy_buffering off": site("proxy_http_version 1.1;", "proxy_http_version 1.1; proxy_buffering off;"),
    "multi_accept on (nginx.conf)": {"main": replaced("events {", "events { multi_accept on;")},
}


def directives_step(rounds, seconds):
    """what single directives of nginx bring"""

    def measure(edits):
        proxy.install(**edits)
        with proxy.Upstream("pixeld"), proxy.start() as nginx:
            wrk(256, 1, URL)
            return served(nginx, lambda seconds: wrk(256, seconds, URL), seconds)

    return in_turn(min(rounds, 3), VARIANTS, measure)


def keepalive_step(rounds, seconds):
    """how many idle connections nginx has to keep where another host answers, too"""

    def measure(count):
        proxy.install(edit=replaced("keepalive 256;", f"keepalive {count};"), workers=4)
        proxy.add_upstream("127.0.0.1:8000")
        peers.prepare()
        with proxy.Upstream("pixeld", BOTH), peers.PIXELD.start(BOTH), proxy.start(BOTH) as nginx:
            wrk(1000, 1, URL, BOTH, 2)
            before = accepted()
            found = served(nginx, lambda seconds: wrk(1000, seconds, URL, BOTH, 2), seconds)
            opened = accepted() - before
            return {**found, "opened": opened / found["seconds"]}

    return in_turn(min(rounds, 3), {str(count): count for count in (16, 64, 128, 256, 512)}, measure)


def accepted():
    """How many connections the pixeld on port 8000 has accepted."""
    done = subprocess.run([paths.PIXELD.with_name("pixeldctl"), "--socket", "/run/pixeld/tcp-control.sock",
                           "--json", "stats"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["connections"]["accepted"]


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
        with peers.seed(workers=2).start(BOTH), proxy.start(BOTH):
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
