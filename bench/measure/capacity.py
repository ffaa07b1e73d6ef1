"""docs/capacity.md: what the measured CPU time means for the hosts of the deployment guide."""

from . import paths, peers
from .samples import median, number

# How much more CPU time a vCPU of the instance takes than one of the measuring machine. Assumed, and
# called so in the document: both are hyperthreads of older cores, or run at a lower clock.
SLOWER = {"c5": 2.0, "t2": 2.5}
# Above this share of all CPUs, bursts begin to queue.
PLANNED = 0.7
C5_CPUS = 4
# AWS: 54 credits an hour, 1,296 at most, 120 at launch; a credit is a vCPU for a minute.
T2_CPUS, T2_BASELINE, T2_EARNED, T2_MOST, T2_LAUNCH = 4, 0.225, 54, 1296, 120


def values(samples):
    """The numbers that the template names; None where something has not been measured."""
    proxy, alone = samples.found("proxy"), samples.found("peers")
    if not proxy or not alone or peers.PIXELD.name not in alone:
        return None
    nginx, local = median(proxy["pixeld"], "cpu"), median(proxy["pixeld"], "upstream")
    remote = median(alone[peers.PIXELD.name], "cpu")
    seed = median(alone[peers.SEED.name], "cpu") if peers.SEED.name in alone else None
    c5_each, t2_each = SLOWER["c5"] * (nginx + local) / 1e6, SLOWER["t2"] * remote / 1e6
    baseline = T2_CPUS * T2_BASELINE
    c5_alone, nginx_alone = C5_CPUS * PLANNED / c5_each, C5_CPUS * PLANNED / (SLOWER["c5"] * nginx / 1e6)
    t2_for_ever, t2_burst = baseline / t2_each, T2_CPUS * PLANNED / t2_each
    above = T2_CPUS * PLANNED - baseline
    # With equal shares: where c5 has its planned load, and where t2 has spent its baseline.
    both = C5_CPUS * PLANNED / (SLOWER["c5"] * (nginx + local / 2) / 1e6)
    half = 2 * t2_for_ever
    found = {
        "nginx": nginx, "local": local, "remote": remote, "c5_slower": str(SLOWER["c5"]), "t2_slower": str(SLOWER["t2"]),
        "c5_nginx": SLOWER["c5"] * nginx, "c5_pixeld": SLOWER["c5"] * local, "t2_pixeld": t2_each * 1e6,
        "nginx_share": 100 * nginx / (nginx + local),
        "c5_alone": rounded(c5_alone), "nginx_alone": rounded(nginx_alone), "both": rounded(both),
        "t2_for_ever": rounded(t2_for_ever), "t2_burst": rounded(t2_burst),
        "gain": 100 * (nginx_alone / c5_alone - 1),
        "t2_at_1000": 100 * 1000 * t2_each / T2_CPUS, "t2_spent": 1000 * t2_each * 60,
        "c5_at_1000": 100 * 1000 * c5_each / C5_CPUS,
        "t2_hours": T2_MOST / (60 * above), "t2_launch": T2_LAUNCH / above,
        "third": rounded(0.7 * c5_alone), "half": rounded(half), "verdict": verdict(both, half),
    }
    if seed:
        each = SLOWER["t2"] * seed / 1e6
        found.update(
            seed=seed, seed_t2=rounded(baseline / each), seed_t2_spent=1000 * each * 60,
            seed_c5=rounded(C5_CPUS * PLANNED / (SLOWER["c5"] * (seed + nginx) / 1e6)))
    return found


def verdict(both, half):
    if both <= half:
        return "**So equal shares are right, and no weight is needed**: c5 is full before t2 has spent its baseline."
    weight = round(2 * both / half) - 1
    return (f"**So c5 needs weight={max(weight, 2)} beyond {rounded(half):,} requests/s**: t2 has spent its baseline "
            "before c5 is full.")


def rounded(rate):
    """Two digits: more would claim to know."""
    step = 10 ** max(len(str(int(rate))) - 2, 0)
    return int(rate // step * step)


def text(samples):
    template = (paths.BENCH / "capacity.md").read_text()
    found = values(samples)
    if not found:
        return None
    for name, value in found.items():
        shown = value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else number(value)
        template = template.replace("{{" + name + "}}", shown)
    return template
