"""Builds pixeld and its peers, and fetches those that are not built here. A peer that cannot be had is
left out, and the documents say so."""

import os
import shutil
import subprocess
import sys

from . import paths

OHA_VERSION = "1.16.0"
BUN_VERSION = "1.4.5"
# Beside what the application stands on (tests/it/reference/requirements.txt).
PYTHON_SERVERS = ["gunicorn==27.0.1", "granian==2.8.7"]
CARGO = os.environ.get("CARGO", "cargo")
RUSTC = os.environ.get("RUSTC", "rustc")
RELEASE = ["build", "--release", "--locked"]
# command: Debian package.
TOOLS = {"wrk": "wrk", "nginx": "nginx", "go": "golang-go", "npm": "npm", "ab": "apache2-utils"}


def build():
    install_missing()
    run([CARGO, *RELEASE, "--target-dir", paths.TARGET], paths.ROOT)
    peers()
    paths.CACHE.mkdir(parents=True, exist_ok=True)
    optional("oha", paths.OHA, lambda: run(
        [CARGO, "install", "oha", "--version", OHA_VERSION, "--locked",
         "--root", paths.CACHE / "oha"]))
    optional("Go", paths.GO_SERVER, lambda: run(["go", "build", "-o", paths.GO_SERVER, "server.go"],
                                                paths.BENCH / "peers"))
    optional("Bun", paths.BUN, lambda: run(
        ["npm", "install", "--no-audit", "--no-fund", "--prefix", paths.CACHE / "bun", f"bun@{BUN_VERSION}"]))
    optional("Python", paths.PYTHON / "granian", python)


def peers():
    run([CARGO, *RELEASE, "--target-dir", paths.TARGET / "peers"], paths.BENCH)


def python():
    run([sys.executable, "-m", "venv", paths.PYTHON.parent])
    requirements = paths.ROOT / "tests" / "it" / "reference" / "requirements.txt"
    run([paths.PYTHON / "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements,
         *PYTHON_SERVERS])


def optional(name, product, make):
    if product.exists():
        return
    try:
        make()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{name} cannot be had and is left out: {error}", file=sys.stderr)


def install_missing():
    missing = [package for command, package in TOOLS.items() if not shutil.which(command)]
    if not missing or not shutil.which("apt-get"):
        return
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    print(f"Installing from Debian: {' '.join(missing)}", file=sys.stderr)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
    for package in missing:
        subprocess.run([*as_root, "env", "DEBIAN_FRONTEND=noninteractive", *install, package], check=False)


def run(command, folder=None):
    # To stderr, like everything that is no result.
    subprocess.run([str(part) for part in command], cwd=folder, check=True, stdout=sys.stderr)


def versions():
    """The version of everything that is measured, by the name that the documents use."""
    found = crates()
    found["oha"] = OHA_VERSION
    found["Linux"] = os.uname().release
    for name, command in {
        "pixeld": [str(paths.PIXELD), "--version"],
        "rustc": [RUSTC, "--version"],
        "nginx": ["nginx", "-v"],
        "wrk": ["wrk", "-v"],
        "Go": ["go", "version"],
        "Bun": [str(paths.BUN), "--version"],
        "Python": [str(paths.PYTHON / "python"), "--version"],
    }.items():
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            continue
        line = (done.stdout + done.stderr).strip().splitlines()[0]
        words = [word for word in line.replace("/", " ").split() if any(c.isdigit() for c in word)]
        found[name] = words[0].removeprefix("go")
    for line in output([str(paths.PYTHON / "pip"), "freeze", "--disable-pip-version-check"]).splitlines():
        name, _, version = line.partition("==")
        if name in ("fastapi", "pydantic", "uvicorn", "gunicorn", "granian"):
            found[name] = version
    return found


def crates():
    wanted = {"actix-web", "axum", "hyper", "may_minihttp", "ntex", "serde_json", "tokio", "xitca-web"}
    found, name = {}, None
    for line in (paths.BENCH / "Cargo.lock").read_text().splitlines():
        key, _, value = line.partition(" = ")
        if key == "name":
            name = value.strip('"')
        elif key == "version" and name in wanted:
            found[name] = value.strip('"')
    return found


def output(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
