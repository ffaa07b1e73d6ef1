"""How long it takes until there is an answer."""

import os
import shutil
import socket
import subprocess
import time

from . import peers
from .load import BODY

REQUEST = (f"POST /pixel HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
           f"content-length: {len(BODY)}\r\n\r\n{BODY}").encode()
ADDRESS = ("127.0.0.1", 8000)


def step(rounds, _):
    """from exec to READY, and to the first response"""
    found = {"pixeld: exec to READY": [milliseconds(until_ready) for _ in range(4 * rounds)]}
    if shutil.which("systemd-socket-activate"):
        found["pixeld: first response after socket activation"] = [
            milliseconds(until_activated) for _ in range(4 * rounds)]
    found["pixeld: exec to first response"] = [
        milliseconds(lambda: until_answer(peers.pixeld())) for _ in range(4 * rounds)]
    if os.path.exists(peers.SEED.command[0]):
        found["FastAPI, Gunicorn + uvicorn: exec to first response"] = [
            milliseconds(lambda: until_answer(peers.SEED.command)) for _ in range(rounds)]
    return found


def milliseconds(measure):
    return {"ms": 1000 * measure()}


def spawn(command, env=None):
    return subprocess.Popen([str(part) for part in command], env={**os.environ, **(env or {})},
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until_ready():
    path = "/run/pixeld/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(10)
        begun = time.monotonic()
        process = spawn(peers.pixeld(), {"NOTIFY_SOCKET": path})
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
            return time.monotonic() - begun
        finally:
            end(process)
            os.unlink(path)


def until_activated():
    """The socket is open, as systemd opens it; the clock begins with the client that connects."""
    process = spawn(["systemd-socket-activate", "-l", "127.0.0.1:8000", "--fdname=http", *peers.pixeld()])
    try:
        # Looked up, not connected to, which would start pixeld.
        deadline = time.monotonic() + 10
        while not is_listening() and time.monotonic() < deadline:
            time.sleep(0.005)
        begun = time.monotonic()
        ask()
        return time.monotonic() - begun
    finally:
        end(process)


def until_answer(command):
    begun = time.monotonic()
    process = spawn(command)
    try:
        while time.monotonic() < begun + 30:
            try:
                ask()
                return time.monotonic() - begun
            except ConnectionRefusedError:
                time.sleep(0.0005)
        raise OSError(f"{command[0]} did not answer within 30 s")
    finally:
        end(process)


def ask():
    with socket.create_connection(ADDRESS, timeout=10) as client:
        client.sendall(REQUEST)
        if not client.recv(4096).startswith(b"HTTP/1.1 200"):
            raise OSError("the first request was refused")


def is_listening():
    # Port 8000 in the state LISTEN.
    with open("/proc/net/tcp") as file:
        return any(":1F40 00000000:0000 0A" in line for line in file)
