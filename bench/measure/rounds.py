"""How everything is measured: in turn, and by what the server used for each answer."""

import sys


def in_turn(rounds, candidates, measure):
    """Every candidate once in each round, so that a busy minute of the machine is everybody's."""
    found = {name: [] for name in candidates}
    for turn in range(rounds):
        for name, candidate in candidates.items():
            found[name].append(measure(candidate))
            rate, cost = found[name][-1]["rate"], found[name][-1].get("cpu", 0)
            print(f"{turn + 1}/{rounds} {name}: {rate:,.0f}/s, {cost:.1f} µs", file=sys.stderr)
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
