"""The table of each case and the verdict on each target."""
from statistics import median

from cases import UDP

COLUMNS = {
    "gbit_s": ("gbit_s", "cpu_s_per_gb", "proxy_cpu_s_per_gb"),
    "per_s": ("per_s", "p50_us", "p99_us", "cpu_us_each", "proxy_cpu_us_each"),
    "rss_kib": ("rss_kib", "held_kib", "slab_kib", "map_kib", "rss_before_kib", "map_before_kib"),
    "packets_s": ("packets_s", "cpu_us_each", "proxy_cpu_us_each", "lost_percent"),
}
NOTES = {
    "gbit_s": "cpu_s_per_gb: busy seconds of the whole machine, both ends of the traffic included.",
    "per_s": "cpu_us_each: busy time of the whole machine for each exchange, both ends included.",
    "rss_kib": "KiB for each flow. held_kib: with its part of a map that RSS holds whole from the start.\n"
               "map_kib is in slab_kib, which is the whole kernel's and holds the load generator's\n"
               "own two sockets of each flow too, for every peer alike: `route` has nothing else.",
    "packets_s": "cpu_us_each: busy time of the whole machine for each datagram, both ends and both ways included.",
}
BEST = "the best peer"
# case, peer, number, at least or at most, times this number of that peer (None: the bare number)
TARGETS = (
    ("bulk1", "seam-auto", "gbit_s", ">=", 1.0, BEST),
    ("bulk1", "seam-auto", "cpu_s_per_gb", "<=", 0.95, BEST),
    ("pp1", "seam-auto", "per_s", ">=", 1.15, BEST),
    ("pp100", "seam-auto", "per_s", ">=", 1.0, "haproxy"),
    ("pp100", "seam-copy", "per_s", ">=", 1.0, "nginx"),
    ("connect", "seam-auto", "per_s", ">=", 1.0, "haproxy"),
    ("idle", "seam-auto", "rss_kib", "<=", 1.5, None),
    *((name, "seam-auto", "packets_s", ">=", 2.0, BEST) for name in UDP),
    *((name, "seam-packet", "gbit_s", ">=", 0.98, "route") for name in ("bulk1", "bulk16")),
    *((name, "seam-packet", "cpu_s_per_gb", "<=", 1.05, "route") for name in ("bulk1", "bulk16")),
    ("pp100", "seam-packet", "per_s", ">=", 0.95, "route"),
    ("pp100", "seam-packet", "p99_us", "<=", 1.1, "route"),
    *((name, "seam-packet", "packets_s", ">=", 0.9, "route") for name in UDP),
    ("parked", "seam-packet", "held_kib", "<=", 1.0, None),
)


class Results:
    """Lines by case and peer; a line with an error counts as an error and never as a number."""

    def __init__(self, cases, peers, lines):
        self.cases = {case.name: case for case in cases}
        self.peers = [peer.name for peer in peers]
        self.lines = lines

    def of(self, case, peer, key):
        """Number by round."""
        return {line["round"]: line[key] for line in self.lines
                if (line["case"], line["peer"]) == (case, peer) and key in line}

    def errors(self, case, peer):
        return sum("error" in line for line in self.lines
                   if (line["case"], line["peer"]) == (case, peer))

    def median(self, case, peer, key):
        return median(self.of(case, peer, key).values() or [float("nan")])

    def ratio(self, case, peer, other, key):
        """Median over the rounds of peer / other: what disturbs a round disturbs both."""
        mine, theirs = self.of(case, peer, key), self.of(case, other, key)
        pairs = [mine[r] / theirs[r] for r in mine if theirs.get(r)]
        return median(pairs) if pairs else None

    def best(self, case):
        """The best of those that are neither seam nor plain routing."""
        key = self.cases[case].main
        ranked = [(self.median(case, p, key), p) for p in self.peers
                  if p != "route" and not p.startswith("seam-") and self.of(case, p, key)]
        if not ranked:
            return None
        return (min if self.cases[case].less_is_better else max)(ranked)[1]


def shown(value):
    if value is None or value != value:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.2f}"


def table(results, name):
    main = results.cases[name].main
    best = results.best(name)
    rows = [("peer", *COLUMNS[main], "lowest..highest", f"/ {best or 'best'}", "/ route", "errors")]
    for peer in results.peers:
        values = results.of(name, peer, main).values()
        if not values and not results.errors(name, peer):
            continue
        rows.append((
            peer, *(shown(results.median(name, peer, key)) for key in COLUMNS[main]),
            f"{shown(min(values))}..{shown(max(values))}" if values else "-",
            *(shown(results.ratio(name, peer, other, main)) for other in (best, "route")),
            str(results.errors(name, peer) or "")))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print(f"\n{name}: medians of {main}, {results.cases[name].flows} flows")
    for row in rows:
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        print("  " + "  ".join(cells).rstrip())
    print("  " + NOTES[main].replace("\n", "\n  "))


def verdict(results, case, peer, key, sense, limit, other):
    if case not in results.cases or peer not in results.peers:
        return None
    against = results.best(case) if other == BEST else other
    value = results.ratio(case, peer, against, key) if other else results.median(case, peer, key)
    wanted = f"{case}: {key} of {peer} {sense} {limit}"
    if other:
        wanted += f" x {against or other}"
    if value is None or value != value:
        return f"NO NUMBER    {wanted}"
    reached = value >= limit if sense == ">=" else value <= limit
    errors = results.errors(case, peer)
    return f"{'PASS' if reached and not errors else 'FALLS SHORT':11}  {wanted}: {value:.2f}" + (
        f", with {errors} errors" if errors else "")


def show(cases, peers, lines):
    results = Results(cases, peers, lines)
    for case in cases:
        table(results, case.name)
    print("\ntargets")
    for target in TARGETS:
        line = verdict(results, *target)
        if line:
            print("  " + line)
