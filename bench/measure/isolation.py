"""A network, processes, /run and /etc/nginx of our own. When this ends, however it ends, the kernel ends
everything that it started."""

import os
import resource
import shutil
import signal
import subprocess
import sys

from . import paths

MARK = "PIXELD_BENCH_ISOLATED"


def is_isolated():
    return MARK in os.environ


def enter():
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    variables = {name: os.environ.get(name) for name in ("PATH", "HOME", "RUSTC", "CARGO_TARGET_DIR", "XDG_CACHE_HOME")}
    kept = [f"{name}={value}" for name, value in variables.items() if value]
    command = [*as_root, "env", *kept, f"{MARK}=1", "unshare", "--net", "--mount", "--pid", "--fork",
               "--kill-child", "--mount-proc", sys.executable, *sys.argv]
    os.execvp(command[0], command)


def prepare():
    # The first process of a namespace gets only signals that it handles.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    run("ip", "link", "set", "lo", "up")
    shutil.copytree("/etc/nginx", "/tmp/pixeld-bench-nginx", symlinks=True, dirs_exist_ok=True)
    for folder in ("/run", "/var/log/nginx", "/etc/nginx"):
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    shutil.copytree("/tmp/pixeld-bench-nginx", "/etc/nginx", symlinks=True, dirs_exist_ok=True)
    shutil.rmtree("/tmp/pixeld-bench-nginx")
    os.mkdir("/run/pixeld")


def give_back(path):
    """Root's files belong to whoever called sudo."""
    if "SUDO_UID" in os.environ:
        os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))


def run(*command):
    subprocess.run(command, check=True)
