"""A bad cable: one that is long, loses, repeats and reorders packets, in place of a cable of the lab (link.c)."""
import dataclasses
import pathlib
import subprocess

from daemon import SEAMD
from lab import ROOT
from verdict import Skip, check

LINK = (pathlib.Path(SEAMD) if SEAMD != "none" else ROOT / "build/dev/bin/seamd").with_name("link")
ENDS = {"lan": (("client", "lan0"), ("router", "lan0")), "wan": (("router", "wan0"), ("server", "wan0"))}


@dataclasses.dataclass
class Counts:
    carried: int
    lost: int
    duplicated: int
    reordered: int
    overflowed: int


class Link:
    """While it is entered both ends of the cable @which ("lan", "wan") are TAP devices, which compute their checksums
    and segments in software (@tun: TUN devices, without Ethernet headers), with the names, addresses and routes of
    the ends before; then the cable is as it was, but new. Interfaces that go away end the flows that use them.

    @delay_ms one way, @loss, @duplicate and @reorder (percent; such a packet waits @reorder_ms more), @mbit (0: no
    limit) and @queue (packets that wait or are under way) are each a number, or a pair: up, from the client towards
    the server, and down. set() changes them meanwhile; @counts is a pair of what was done, once it is left."""

    def __init__(self, lab, which, tun=False, mtu=1500, seed=1, **settings):
        self.lab, self.ends, self.tun, self.mtu, self.seed = lab, ENDS[which], tun, mtu, seed
        self.settings = {"delay_ms": 0, "loss": 0, "duplicate": 0, "reorder": 0, "reorder_ms": 3, "mbit": 0,
                         "queue": 2000}
        self.first, self.process, self.saved, self.counts = settings, None, [], None

    def __enter__(self):
        if not LINK.exists() or not pathlib.Path("/dev/net/tun").exists():
            raise Skip(f"no {LINK} or no /dev/net/tun")
        self.saved = [self.save(*end) for end in self.ends]
        self.lab.run(self.ends[0][0], "ip", "link", "del", self.ends[0][1])
        argv = [str(LINK), *(["--tun"] if self.tun else []), "--seed", str(self.seed)]
        for side, name in self.ends:
            argv += [self.lab.path(side), name]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        try:
            self.answer("link")
            self.restore(self.mtu)
            self.set(**self.first)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        told, _ = self.process.communicate(timeout=10)
        if self.process.returncode == 0:
            self.counts = tuple(Counts(*map(int, line.split())) for line in told.splitlines()[-2:])
        (left, name), (right, peer) = self.ends
        self.lab.run(left, "ip", "link", "add", name, "type", "veth", "peer", "name", peer, "netns",
                     self.lab.path(right))
        self.restore(1500)

    def set(self, **settings):
        check(settings.keys() <= self.settings.keys(), f"{settings}")
        self.settings |= settings
        for way in (0, 1):
            value = {key: (either[way] if isinstance(either, tuple) else either)
                     for key, either in self.settings.items()}
            line = (f"{way} {value['delay_ms'] * 1000:.0f} {value['loss']} {value['duplicate']} {value['reorder']} "
                    f"{value['reorder_ms'] * 1000:.0f} {value['mbit'] * 1000:.0f} {value['queue']}")
            self.process.stdin.write(line + "\n")
            self.answer(line)

    def answer(self, what):
        told = self.process.stdout.readline().strip()
        check(told == "ok", f"{LINK.name}: {what}: {told or 'it ended'}")

    def save(self, side, name):
        """The commands for ip -batch that give an interface of this name its addresses and routes again."""
        lines = []
        for word in self.lab.run(side, "ip", "-o", "addr", "show", "dev", name, "scope", "global").splitlines():
            family, address = word.split()[2:4]
            lines.append(f"addr add {address} dev {name}" + (" nodad" if family == "inet6" else ""))
        lines.append(f"link set {name} up")
        for family in ("-4", "-6"):
            for route in self.lab.run(side, "ip", family, "route", "show", "dev", name).splitlines():
                if " proto kernel" not in route:
                    lines.append(f"route replace {' '.join(route.replace('linkdown', '').split())} dev {name}")
        return lines

    def restore(self, mtu):
        for (side, name), lines in zip(self.ends, self.saved):
            self.lab.run(side, "ip", "link", "set", name, "mtu", str(mtu), "txqueuelen", "5000")
            self.lab.run(side, "ip", "-batch", "-", stdin="\n".join(lines) + "\n")
