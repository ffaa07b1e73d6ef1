"""User instructions a request, counted by callgrind: the same whatever else the machine does."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

# Requests of the two runs whose difference is taken: what a start and an end cost is in both.
FEW, MANY = 320, 3520


def instructions(server, request, connections=32, closes=False):
    """The instructions a request. Each connection sends its next request when all have their responses, or if it
    `closes`, a new connection does. Its request is there before the connection is accepted.

    `server(folder)` is a context with a command, its address and the signal that ends it gracefully."""
    def run(count):
        return total(server, request, connections, closes, count)

    with ThreadPoolExecutor(2) as runs:
        few, many = runs.map(run, (FEW, MANY))
    return round((many - few) / (MANY - FEW))


def total(server, request, connections, closes, count):
    # A name as long each time: it is part of what some servers copy.
    with tempfile.TemporaryDirectory(prefix="p") as folder, server(folder) as (command, address, end):
        log = f"{folder}/callgrind.log"
        # One CPU, for servers that have a worker for each.
        cpu = sorted(os.sched_getaffinity(0))[count == MANY and -1]
        process = subprocess.Popen(
            ["taskset", "-c", str(cpu), "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
             f"--log-file={log}", *map(str, command)],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until_it_listens(process, address)
            load(process, address, request, connections, closes, count // connections)
        finally:
            finish(process, end)
        with open(log) as file:
            text = file.read()
        found = re.search(r"Collected : (\d+)", text)
        if not found:
            raise OSError(f"{command[0]} was not ended gracefully: {text[-1000:]}")
        return int(found[1])


def wait_until_it_listens(process, address):
    deadline = time.monotonic() + 60
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise OSError(f"{process.args} does not listen on {address}")
        time.sleep(0.05)


def finish(process, end):
    for _ in range(30):
        # nginx can miss a signal that comes just before it waits for events.
        process.send_signal(end)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
            return
    process.kill()
    process.wait()


def load(process, address, request, connections, closes, rounds):
    streams = []
    for _ in range(rounds):
        with stopped(process) if closes else contextlib.nullcontext():
            while len(streams) < connections:
                streams.append(socket.create_connection(address, timeout=60))
            for stream in streams:
                stream.sendall(request.bytes)
        heads = [request.receive(stream) for stream in streams]
        kept = []
        for stream, head in zip(streams, heads, strict=True):
            # nginx closes a connection after 1,000 requests.
            if closes or b"\r\nconnection: close" in head.lower():
                stream.close()
            else:
                kept.append(stream)
        streams = kept
    for stream in streams:
        stream.close()


@contextlib.contextmanager
def stopped(process):
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


class Request:
    def __init__(self, head, body, status=200):
        self.bytes = (head.format(length=len(body)) + "\n").replace("\n", "\r\n").encode() + body.encode()
        self.status = b" %d " % status

    def receive(self, stream):
        """Takes a whole response of the expected status; returns its head."""
        received = some(stream)
        while b"\r\n\r\n" not in received:
            received += some(stream)
        head, _, body = received.partition(b"\r\n\r\n")
        if self.status not in head.partition(b"\r\n")[0]:
            raise OSError(f"expected{self.status.decode()}instead of {head.decode()}")
        rest = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head)[1]) - len(body)
        while rest > 0:
            rest -= len(some(stream))
        return head


def some(stream):
    received = stream.recv(1 << 16)
    if not received:
        raise OSError("the connection is closed before the response is complete")
    return received
