"""Where things are, and what is kept between two runs."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
DOCS = ROOT / "docs"
LOAD = ROOT / "load"
SAMPLES = DOCS / "performance.json"

# What is fetched once: Python packages, Bun, oha.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pixeld" / "bench"
# Where Cargo builds; CARGO_TARGET_DIR moves it.
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
PEERS = TARGET / "peers" / "release"
PIXELD = TARGET / "release" / "pixeld"
GO_SERVER = TARGET / "peers" / "go-server"
OHA = CACHE / "oha" / "bin" / "oha"
BUN = CACHE / "bun" / "node_modules" / ".bin" / "bun"
PYTHON = CACHE / "python" / "bin"
