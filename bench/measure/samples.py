"""The samples of each step, in one file, and what is told of several of them."""

import json
import statistics
import time

from . import build, isolation


class Samples:
    def __init__(self, path):
        self.path = path
        self.all = json.loads(path.read_text()) if path.exists() else {}

    def put(self, step, found):
        self.all[step] = {"when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "found": found}
        self.all["versions"] = build.versions()
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(self.all, indent=1) + "\n")
        isolation.give_back(self.path)

    def found(self, step):
        return self.all.get(step, {}).get("found")

    def when(self, step):
        return self.all.get(step, {}).get("when", "never")


def median(rounds, key):
    return statistics.median(round[key] for round in rounds)


def number(value):
    """Three digits that count."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def told(rounds, key):
    """The median, and from the lowest to the highest."""
    values = [round[key] for round in rounds]
    middle = number(statistics.median(values))
    lowest, highest = number(min(values)), number(max(values))
    return middle if lowest == highest else f"{middle} ({lowest}–{highest})"
