"""docs/performance.md and its plots, from the samples."""

import os
import statistics
import textwrap

from . import capacity, isolation, paths, peers, plot
from .samples import median, number, told

MACHINE = """Compare only figures of one table: everything in a table was measured in turn, in several
rounds, so that other work slowed all servers alike. A cell is the median, with the lowest and the highest
round in brackets. CPU time is the steadiest figure. Requests/s and latency depend on the other work of the
machine: read them as orders of magnitude."""
VERSIONS = """All Rust programs have LTO and the system's allocator; Go, Bun and Python have their defaults. Each
server whose number of workers can be set has one worker, because it has one CPU."""


def write(samples):
    template = (paths.BENCH / "performance.md").read_text()
    pieces = {
        "machine": machine(samples), "versions": versions(samples), "peers": all_peers(samples),
        "leaves_out": leaves_out(samples), "worse": worse(samples), "connections": connections(samples),
        "many_clients": table(samples, "many-clients", ["cpu", "user", "system", "rate", "memory"]),
        "workers": workers(samples), "closing": table(samples, "closing", ["rate", "cpu", "p50", "p99"]),
        "refused": refused(samples), "start": start(samples), "proxy": proxy(samples), "directives": directives(samples),
        "keepalive": keepalive(samples), "seed": seed(samples), "ramp": ramp(samples),
    }
    for name, text in pieces.items():
        template = template.replace("{{" + name + "}}", text)
    put("performance.md", template)
    plan = capacity.text(samples)
    if plan:
        put("capacity.md", plan)


def put(name, text):
    path = paths.DOCS / name
    path.write_text(text)
    isolation.give_back(path)


HEADS = {
    "cpu": "CPU, µs", "user": "user, µs", "system": "system, µs", "rate": "requests/s", "p50": "p50, µs",
    "p99": "p99, µs", "p999": "p99.9, µs", "memory": "memory, MiB", "busy": "of a CPU",
    "upstream": "upstream, µs", "sum": "both, µs", "ms": "ms", "opened": "opened/s",
}


def markdown(head, rows, text=1):
    """A table whose first columns, this number of them, are text and the others numbers."""
    lines = [head, ["---"] * text + ["---:"] * (len(head) - text), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def cell(rounds, key):
    scale = 2**20 if key == "memory" else 1
    return told([{key: one[key] / scale} for one in rounds], key)


def table(samples, step, keys, first="", found=None):
    found = found or samples.found(step)
    if not found:
        return "*Not measured.*"
    rows = [[name, *(cell(rounds, key) for key in keys)] for name, rounds in found.items()]
    return markdown([first, *(HEADS[key] for key in keys)], rows)


def by_cost(samples):
    found = samples.found("peers") or {}
    return dict(sorted(found.items(), key=lambda item: median(item[1], "cpu")))


def all_peers(samples):
    found = by_cost(samples)
    if not found:
        return "*Not measured.*"
    keys = ["cpu", "user", "system", "rate", "p50", "p99", "p999", "memory", "busy"]
    text = table(samples, "peers", keys, "peer", found)
    floor = found.get(peers.FLOOR.name)
    if not floor:
        return text
    keys = ["cpu", "rate", "p50", "p99", "p999", "memory"]
    ratios = [[name, *(f"{median(rounds, key) / median(floor, key):.2f}" for key in keys)]
              for name, rounds in found.items()]
    heads = ["CPU", "requests/s", "p50", "p99", "p99.9", "memory"]
    return f"{text}\n\nThe same as a multiple of the floor:\n\n{markdown(['peer', *heads], ratios)}"


def leaves_out(samples):
    found = by_cost(samples)
    rows = [[peer.name, peer.leaves_out] for peer in peers.ALL if peer.name in found]
    missing = [peer.name for peer in peers.ALL if peer.name not in found]
    text = markdown(["peer", "features of pixeld that it lacks or has switched off"], rows, text=2)
    return text + (f"\n\nCould not be installed or started here: {', '.join(missing)}." if missing else "")


def worse(samples):
    """Where a peer that reads requests does better than pixeld, by more than the rounds differ."""
    found = by_cost(samples)
    own = found.get(peers.PIXELD.name)
    if not own:
        return "*Not measured.*"
    lines = []
    for key in ("cpu", "rate", "p50", "p99", "p999", "memory"):
        sign = -1 if key == "rate" else 1
        better = [
            f"{name} ({cell(rounds, key)})" for name, rounds in found.items()
            if name not in (peers.FLOOR.name, peers.PIXELD.name)
            and max(sign * one[key] for one in rounds) < min(sign * one[key] for one in own)
        ]
        if better:
            lines.append(f"- {HEADS[key]}: pixeld has {cell(own, key)}; better are {', '.join(better)}.")
    return "\n".join(lines) or "Nothing in this table, by more than the rounds differ from each other."


def connections(samples):
    found = samples.found("connections")
    if not found:
        return "*Not measured.*"
    rates, tails, names = {}, {}, {}
    for key, rounds in found.items():
        name, count = key.rsplit("|", 1)
        rates.setdefault(name, []).append((int(count), median(rounds, "rate")))
        tails.setdefault(name, []).append((int(count), median(rounds, "p99")))
        names.setdefault(name, {})[int(count)] = rounds
    counts = sorted(next(iter(names.values())))
    for lines in (*rates.values(), *tails.values()):
        lines.sort()
    across = "connections"
    put("throughput-over-connections.svg",
        plot.lines("Requests per second, one CPU", across, "requests/s", rates, counts))
    put("p99-over-connections.svg",
        plot.lines("p99 under full load, one CPU", across, "p99, µs", tails, counts))
    rows = [[name, *(f"{number(median(one[count], 'rate'))} / {number(median(one[count], 'p99'))}"
                     for count in counts)] for name, one in names.items()]
    return markdown(["requests/s / p99 in µs", *(f"{count:,}" for count in counts)], rows)


def workers(samples):
    found = samples.found("workers")
    renamed = {f"{count} worker{'s' if count != '1' else ''}": rounds for count, rounds in (found or {}).items()}
    return table(samples, "workers", ["cpu", "rate", "p50", "p99", "busy"], "", renamed)


def refused(samples):
    found = samples.found("refused") or {}
    by_cost = dict(sorted(found.items(), key=lambda item: median(item[1], "cpu")))
    return table(samples, "refused", ["cpu", "user", "system", "rate", "p50", "p99"], "peer", by_cost)


def start(samples):
    return table(samples, "start", ["ms"])


def proxy(samples):
    found = samples.found("proxy")
    if not found:
        return "*Not measured.*"
    for rounds in found.values():
        for one in rounds:
            one.setdefault("upstream", 0)
            one["sum"] = one["cpu"] + one["upstream"]
    text = table(samples, "proxy", ["rate", "cpu", "upstream", "sum", "p99"], "behind nginx")
    text = text.replace(HEADS["cpu"], "nginx, µs")
    text += "\n\n" + "\n".join(
        f"- pixeld behind nginx against {name}: {ratio(found, 'rate', 'pixeld', name)} of the requests/s. By CPU "
        f"time, one CPU could serve {ratio(found, 'sum', name, 'pixeld')} of the requests/s."
        for name in found if name != "pixeld")
    slow = {name: [one["at_1000"] for one in rounds] for name, rounds in found.items() if "at_1000" in rounds[0]}
    if slow:
        text += "\n\nLatency at 1,000 requests/s, from the time when each request was due:\n\n"
        text += table(samples, "proxy", ["p50", "p99", "p999"], "behind nginx", slow)
    return text


def ratio(found, key, one, other):
    return f"{median(found[one], key) / median(found[other], key):.2f}"


def directives(samples):
    found = samples.found("directives")
    if not found:
        return "*Not measured.*"
    shipped = median(found["as shipped"], "cpu")
    rows = [[name, cell(rounds, "rate"), cell(rounds, "cpu"),
             f"{100 * median(rounds, 'cpu') / shipped - 100:+.0f} %"]
            for name, rounds in sorted(found.items(), key=lambda item: item[0] != "as shipped")]
    own = min(one["cpu"] for one in found["as shipped"])
    better = [name for name, rounds in found.items() if max(one["cpu"] for one in rounds) < own]
    verdict = f"Better than the shipped site by more than the rounds differ: {', '.join(better) or 'none'}."
    text = markdown(["directive", "requests/s", "nginx, µs", "nginx, change"], rows)
    return f"{text}\n\n{verdict}"


def keepalive(samples):
    found = samples.found("keepalive")
    if not found:
        return "*Not measured.*"
    counted = dict(sorted(found.items(), key=lambda item: int(item[0])))
    text = table(samples, "keepalive", ["rate", "cpu", "opened", "p99"], "keepalive", counted)
    return text.replace(HEADS["cpu"], "nginx, µs")


def seed(samples):
    found = samples.found("seed")
    if not found:
        return "*Not measured.*"
    rows = []
    for name, runs in found.items():
        for number_of, one in enumerate(runs):
            rows.append([name if number_of == 0 else "", f"{1 + number_of // 2}. {one['command'].split()[0]}",
                         rate_of(one["output"]), f"{failures(one['output']):,}",
                         f"{one['waiting']['8000']:,}"])
    return markdown(["", "run", "requests/s", "failed", "TIME-WAIT to the upstream"], rows, text=2)


def rate_of(output):
    """As ab and wrk say it."""
    line = next(line for line in output.splitlines() if line.startswith("Requests") and "sec" in line)
    return number(float(line.partition(":")[2].split()[0]))


def failures(output):
    """Refused, broken and late answers, as ab and wrk count them."""
    refused, broken = [0], 0
    for line in output.splitlines():
        name, _, rest = line.strip().partition(":")
        # ab counts an answer with another status under both names.
        if name in ("Failed requests", "Non-2xx responses", "Non-2xx or 3xx responses"):
            refused.append(int(rest.split()[0]))
        if name == "Socket errors":
            broken = sum(int(word) for word in rest.replace(",", "").split() if word.isdigit())
    return max(refused) + broken


def knee(steps):
    """The highest rate that is kept up with, before the first one that is not."""
    kept = None
    for one in steps:
        if one["rate"] < 0.98 * one["offered"] or one["p99"] > 50_000 or one["errors"]:
            break
        kept = one
    return kept


def ramp(samples):
    found = samples.found("ramp")
    if not found:
        return "*Not measured.*"
    series, texts = {}, []
    for name, steps in found.items():
        series[f"{name}, p50"] = [(one["offered"], max(one["p50"], 1) / 1000) for one in steps]
        series[f"{name}, p99"] = [(one["offered"], max(one["p99"], 1) / 1000) for one in steps]
        kept = knee(steps)
        told_knee = (f"**{kept['offered']:,} requests/s** (p99 {kept['p99'] / 1000:.1f} ms)"
                     if kept else f"below {steps[0]['offered']:,} requests/s")
        texts.append(f"- {name}: the knee is at {told_knee}.")
    short = {name.replace("FastAPI, Gunicorn + uvicorn", "FastAPI"): line for name, line in series.items()}
    put("latency-over-rate.svg", plot.lines("Latency over offered load, nginx and upstream on one CPU",
                                            "requests/s offered", "latency, ms", short))
    tables = []
    for name, steps in found.items():
        rows = [[f"{one['offered']:,}", number(one["rate"]), number(one["p50"]), number(one["p99"]),
                 number(one["p999"]), str(one["errors"]), f"{100 * one['generator']:.0f} %"] for one in steps]
        head = ["offered/s", "served/s", "p50, µs", "p99, µs", "p99.9, µs", "errors", "oha, of a CPU"]
        tables.append(f"{name}:\n\n{markdown(head, rows)}")
    return "\n".join(texts) + "\n\n" + "\n\n".join(tables)


def machine(samples):
    with open("/proc/cpuinfo") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    whens = sorted({samples.when(step) for step in samples.all if step != "versions"})
    span = f"from {whens[0]} to {whens[-1]}" if len(whens) > 1 else "".join(whens)
    busy = [one["others"] for step in samples.all for rounds in rounds_of(samples, step) for one in rounds]
    busy = f" Other work took {statistics.median(busy):.2f} CPUs meanwhile (median)." if busy else ""
    return wrapped(f"**The machine.** A virtual machine that is shared with other work, {os.cpu_count()} CPUs ({model}), "
            f"{memory:.0f} GiB, Linux {os.uname().release}, {span}.{busy} {MACHINE}")


def rounds_of(samples, step):
    """The rounds of all that was measured in turn in this step."""
    found = samples.found(step) if step != "versions" else None
    return [rounds for rounds in (found or {}).values() if "others" in rounds[0]]


def versions(samples):
    found = samples.all.get("versions", {})
    named = ", ".join(f"{name} {version}" for name, version in sorted(found.items(), key=lambda v: v[0].lower()))
    return wrapped(f"**Versions.** {named}. {VERSIONS}")


def wrapped(text):
    return textwrap.fill(text, 104, break_long_words=False, break_on_hyphens=False)
