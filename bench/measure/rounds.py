"""How everything is measured: in turn, and by what the server used for each answer."""

import contextlib
import os
import sys
import time

from .process import TICKS, stat


def in_turn(rounds, candidates, measure):
    """Every candidate once in each round, so that a busy minute of the machine is everybody's."""
    found = {name: [] for name in candidates}
    for turn in range(rounds):
        for name, candidate in candidates.items():
            before, begun = others(), time.monotonic()
            one = measure(candidate)
            one["others"] = (others() - before) / (time.monotonic() - begun)
            found[name].append(one)
            print(f"{turn + 1}/{rounds} {name}: {one['rate']:,.0f}/s, {one['cpu']:.1f} µs, "
                  f"others use {one['others']:.2f} CPUs", file=sys.stderr)
    return found


def served(server, load, seconds):
    """What the load found, with what the server used for each answer, in µs."""
    before = server.usage()
    found = load(seconds)
    after = server.usage()
    user, system = after.user - before.user, after.system - before.system
    each = 1e6 / max(found["answers"], 1)
    return {**found, "user": user * each, "system": system * each, "cpu": (user + system) * each,
            "busy": (user + system) / found["seconds"], "memory": server.memory()}


def others():
    """CPU seconds that were used on this machine by what is not ours: all but the processes that we see."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, interrupts, soft, steal = map(int, file.readline().split()[1:9])
    own = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                # With children that have ended and been waited for.
                own += sum(int(field) for field in stat(name)[11:15])
    return (user + nice + system + interrupts + soft + steal - own) / TICKS
