"""The load generators, each told as one dictionary: answers, seconds, rate, and latencies in µs."""

import json
import resource
import subprocess
import time

from . import paths

BODY = '{"x":1,"y":2,"channel":"R","value":100}'
# A channel that there is not.
WRONG = BODY.replace('"R"', '"X"')
URL = "http://127.0.0.1:8000/pixel"
# One CPU is the server's, the other one the load generator's.
SERVER_CPU, LOAD_CPU = "0", "1"


def wrk(connections, seconds, url=URL, cpus=LOAD_CPU, threads=1, headers=(), body=BODY):
    """As fast as the answers come, whatever they are."""
    more = [word for header in headers for word in ("-H", header)]
    done = finish(["wrk", "-t", threads, "-c", connections, "-d", f"{seconds}s", "--timeout", "10s",
                   "-s", paths.BENCH / "wrk.lua", *more, url, "--", body], cpus, seconds)
    found = json.loads(done.splitlines()[-1])
    return {**found, "rate": found["answers"] / found["seconds"]}


class Loadgen:
    """loadgen, whose connections are there before the measurement begins."""

    def __init__(self, target, busy, idle, seconds):
        command = ["taskset", "-c", LOAD_CPU, paths.PEERS / "loadgen", target, busy, idle, seconds]
        self.seconds = seconds
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        if self.process.stdout.readline().strip() != "ready":
            raise OSError("loadgen could not open its connections")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def result(self):
        found = json.loads(self.process.stdout.readline())
        return {**found, "rate": found["answers"] / found["seconds"]}


def oha(rate, seconds, connections, url):
    """At a fixed rate, whether or not answers come. Latency counts from when a request was due, so a
    server that stalls is charged for all that had to wait."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = finish(
        [paths.OHA, "--no-tui", "--output-format", "json", "-q", rate, "-z", f"{seconds}s", "-c", connections,
         "--latency-correction", "-w", "-m", "POST", "-T", "application/json", "-d", BODY, url],
        LOAD_CPU, seconds)
    elapsed, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done)
    microseconds = {key: 1e6 * (found["latencyPercentiles"][name] or 0)
                    for key, name in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"))}
    statuses = found["statusCodeDistribution"]
    accepted = statuses.get("200", 0)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "offered": rate,
        "rate": accepted / found["summary"]["total"],
        # Requests that were under way at the end are no fault of the server's.
        "errors": sum(statuses.values()) - accepted + sum(
            count for text, count in found["errorDistribution"].items() if "deadline" not in text),
        "generator": used / elapsed,
        **microseconds,
    }


def finish(command, cpus, seconds):
    command = ["taskset", "-c", cpus, *(str(part) for part in command)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout
