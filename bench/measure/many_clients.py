"""Many connections, and a Unix socket: what loadgen is for."""

from pathlib import Path

from . import paths, peers
from .load import Loadgen, SERVER_CPU
from .process import Server
from .rounds import in_turn, served

SOCKET = "/run/pixeld/bench.sock"
TCP = "127.0.0.1:8000"
UNIX = f"unix:{SOCKET}"


def step(rounds, seconds):
    """pixeld and the floor over TCP and a Unix socket, with 64 and with 10,000 connections"""
    cases = {
        f"{what}{kind}": (name, *case)
        for name, kind in (("pixeld", ""), ("floor", ", floor"))
        for what, case in {
            "TCP, 64 busy": (TCP, 64, 0),
            "Unix socket, 64 busy": (UNIX, 64, 0),
            "TCP, 64 busy and 9,900 idle": (TCP, 64, 9900),
            "TCP, 9,900 busy": (TCP, 9900, 0),
        }.items()
    }

    def measure(case):
        name, target, busy, idle = case
        address = SOCKET if target == UNIX else ("127.0.0.1", 8000)
        floor = [paths.PEERS / "floor", *([SOCKET] if target == UNIX else [])]
        Path(SOCKET).unlink(missing_ok=True)
        with Server(peers.pixeld(target) if name == "pixeld" else floor, SERVER_CPU, address) as server:
            with Loadgen(target, busy, idle, seconds) as loadgen:
                return served(server, lambda _: loadgen.result(), seconds)

    return in_turn(rounds, cases, measure)
