"""The lab: three namespaces, client - router - server, made by tools/lab and named after this process."""
import atexit
import contextlib
import ctypes
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess

from verdict import check

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAB_TOOL = os.environ.get("SEAM_LAB_TOOL", str(ROOT / "tools/lab"))
SERVICE = {"v4": "10.77.9.9", "v6": "fd77:9::9"}
ROUTER = {"v4": "10.77.1.1", "v6": "fd77:1::1"}
SIDES = ("client", "router", "server")
SO_NETNS_COOKIE = 71
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


class Lab:
    """Three namespaces from tools/lab, named after this process."""

    def __init__(self, suffix=""):
        self.sweep()
        self.name, self.pins = f"t{os.getpid()}{suffix}", "/nonexistent"
        atexit.register(self.down)
        self.tool("up")
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.ns = {side: os.open(self.path(side), os.O_RDONLY | os.O_CLOEXEC) for side in SIDES}
        self.pins = self.find_pins()

    def find_pins(self):
        """Where a daemon in the router keeps what outlives it (relay.on_exit)."""
        with self.inside("router"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            cookie = struct.unpack("Q", sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0]
        return f"/sys/fs/bpf/seam_{cookie}"

    @staticmethod
    def sweep():
        """Takes down the labs of test processes that were killed, and what cases have added (test_options: -else)."""
        for path in pathlib.Path("/run/netns").glob("t*-*"):
            owner = re.fullmatch(r"t(\d+)-(router|else)", path.name)
            if not owner or pathlib.Path("/proc", owner[1]).exists():
                continue
            command = [LAB_TOOL, "down"] if owner[2] == "router" else ["ip", "netns", "del", path.name]
            subprocess.run(command, env=os.environ | {"SEAM_LAB": f"t{owner[1]}"}, check=False, capture_output=True)

    def tool(self, *words):
        done = subprocess.run([LAB_TOOL, *words], env=os.environ | {"SEAM_LAB": self.name}, capture_output=True,
                              text=True)
        check(done.returncode == 0, f"{LAB_TOOL} {' '.join(words)}: {done.stdout}{done.stderr}")

    def down(self):
        shutil.rmtree(self.pins, ignore_errors=True)
        subprocess.run([LAB_TOOL, "down"], env=os.environ | {"SEAM_LAB": self.name}, check=False, capture_output=True)

    def path(self, side):
        return f"/run/netns/{self.name}-{side}"

    @contextlib.contextmanager
    def inside(self, side):
        """This thread is in the namespace of @side for a while; a socket stays where it was made."""
        if libc.setns(self.ns[side], CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            libc.setns(self.home, CLONE_NEWNET)

    def run(self, side, *argv, stdin=None):
        done = subprocess.run(["nsenter", f"--net={self.path(side)}", *argv], input=stdin, capture_output=True,
                              text=True)
        check(done.returncode == 0, f"{side}: {' '.join(argv)}: {done.stderr}")
        return done.stdout

    @contextlib.contextmanager
    def nft(self, **rules):
        """Adds a table with these input rules, a namespace each; away again at the end."""
        for side, lines in rules.items():
            hook = "prerouting" if side == "router" else "input"
            self.run(side, "nft", "-f", "-", stdin="table inet e2e {\nchain c {\n"
                     f"type filter hook {hook} priority -300; policy accept;\n{lines}\n}}\n}}\n")
        try:
            yield
        finally:
            for side in rules:
                self.run(side, "nft", "delete", "table", "inet", "e2e")

    def loss(self, percent):
        """Every TCP packet may be lost on its way in, wherever it goes: both directions of both legs."""
        rule = f"meta l4proto tcp numgen random mod 1000 < {int(percent * 10)} drop"
        return self.nft(client=rule, router=rule, server=rule)
