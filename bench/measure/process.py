"""Servers that are started, asked what they have used, and ended."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Usage:
    user: float
    system: float


class Server:
    """A program and its children, on the CPUs named, until the `with` ends."""

    def __init__(self, command, cpus, address=("127.0.0.1", 8000), folder=None, env=None):
        self.command = ["taskset", "-c", cpus, *(str(part) for part in command)]
        self.address, self.folder, self.env = address, folder, env

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        environment = {**os.environ, **(self.env or {})}
        self.process = subprocess.Popen(
            self.command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, start_new_session=True)
        try:
            self.wait_until_it_listens()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        members = tree(self.process.pid)
        for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
                break
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.log.close()
        # Nothing listens any more when the next one starts.
        deadline = time.monotonic() + 5
        while answers(self.address) and time.monotonic() < deadline:
            time.sleep(0.02)

    def wait_until_it_listens(self):
        deadline = time.monotonic() + 30
        while not answers(self.address):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                text = self.log.read().decode(errors="replace")[-2000:]
                raise OSError(f"{self.command} does not listen on {self.address}: {text}")
            time.sleep(0.01)

    def usage(self):
        user = system = 0
        for pid in tree(self.process.pid):
            fields = stat(pid)
            user, system = user + int(fields[11]), system + int(fields[12])
        return Usage(user / TICKS, system / TICKS)

    def memory(self):
        """Resident bytes; pages that several processes share are counted once."""
        total = 0
        for pid in tree(self.process.pid):
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        return total * 1024


def answers(address):
    is_path = isinstance(address, str)
    with socket.socket(socket.AF_UNIX if is_path else socket.AF_INET) as client:
        client.settimeout(1)
        return client.connect_ex(address) == 0


def stat(pid):
    """The fields of /proc/PID/stat behind the name: [1] is the parent."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()


def tree(root):
    """The process and all that descend from it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                fields = stat(name)
                if fields[0] != "Z":
                    parents[int(name)] = int(fields[1])
    found = [root] if root in parents else []
    for parent in found:
        found.extend(pid for pid, its_parent in parents.items() if its_parent == parent)
    return found
