"""The steps of the measurement. Each returns what it has found as plain lists and dictionaries."""

import sys

from . import many_clients, peers, proxied, starting
from .load import LOAD_CPU, SERVER_CPU, URL, WRONG, wrk
from .rounds import in_turn, served


def usable(candidates):
    """Those that start and do what they are measured for; the others are told, once."""
    found = []
    for peer in candidates:
        try:
            with peer.start():
                peer.check()
            found.append(peer)
        except (OSError, ValueError) as error:
            print(f"{peer.name} is left out: {error}", file=sys.stderr)
    return found


def pressed(peer, connections, seconds, **more):
    with peer.start() as server:
        wrk(connections, 1, **more)
        return served(server, lambda seconds: wrk(connections, seconds, **more), seconds)


def peers_step(rounds, seconds):
    """all peers, 64 connections"""
    peers.prepare()
    candidates = {peer.name: peer for peer in usable(peers.ALL)}
    return in_turn(rounds, candidates, lambda peer: pressed(peer, 64, seconds))


def connections_step(rounds, seconds):
    """pixeld and the best peers over 1 to 1,024 connections"""
    peers.prepare()
    best = peers.named("floor", "pixeld", "may_minihttp", "ntex", "actix-web", peers.NGINX.name)
    candidates = {f"{peer.name}|{count}": (peer, count) for peer in usable(best) for count in (1, 64, 256, 1024)}
    return in_turn(min(rounds, 3), candidates, lambda both: pressed(*both, seconds))


def closing_step(rounds, seconds):
    """a new connection for every request"""
    peers.prepare()
    candidates = {peer.name: peer for peer in usable(peers.named("pixeld", "actix-web", peers.NGINX.name))}
    return in_turn(rounds, candidates, lambda peer: pressed(peer, 64, seconds, headers=["Connection: close"]))


def refused_step(rounds, seconds):
    """a pixel that is refused"""
    peers.prepare()
    refusing = [peer for peer in peers.ALL if peer.refusal]
    candidates = {peer.name: peer for peer in usable(refusing)}
    return in_turn(min(rounds, 3), candidates, lambda peer: pressed(peer, 64, seconds, body=WRONG))


def workers_step(rounds, seconds):
    """pixeld with 1 and with 2 workers on both CPUs"""
    both = f"{SERVER_CPU},{LOAD_CPU}"

    def measure(workers):
        peer = peers.Peer("pixeld", peers.pixeld(workers=workers), "")
        with peer.start(both) as server:
            wrk(64, 1, cpus=both, threads=2)
            return served(server, lambda seconds: wrk(64, seconds, URL, both, 2), seconds)

    return in_turn(rounds, {"1": 1, "2": 2}, measure)


ALL = {
    "peers": peers_step,
    "connections": connections_step,
    "many-clients": many_clients.step,
    "workers": workers_step,
    "closing": closing_step,
    "refused": refused_step,
    "start": starting.step,
    "proxy": proxied.proxy_step,
    "directives": proxied.directives_step,
    "keepalive": proxied.keepalive_step,
    "seed": proxied.seed_commands_step,
    "ramp": proxied.ramp_step,
}
