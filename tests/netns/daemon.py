"""The daemon under test: its configuration, start and end, what it says of itself."""
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import typing

from lab import ROOT
from verdict import Failure, check, wait_for

SEAMD = os.environ.get("SEAMD", str(ROOT / "build/dev/bin/seamd"))  # "none": plain routing
SEAMCTL = os.environ.get("SEAMCTL", str(pathlib.Path(SEAMD).with_name("seamctl")))
PROXY_PORT = 12345
NO_PACKET = {"packet": "off"}  # members of "relay": what lives enters the sockmap
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error:|LeakSanitizer|WARNING: ThreadSanitizer")


def missing():
    """Why there is nothing to test, or None."""
    return None if SEAMD == "none" or os.access(SEAMD, os.X_OK) else f"no daemon at {SEAMD}"


@dataclasses.dataclass(frozen=True)
class Config:
    method: str = "auto"
    enter_after: int = 16
    half_close_timeout: str = "60s"
    idle_timeout: str = "0s"
    buffer_limit: str = "16MiB"
    memory_limit: str = "1GiB"
    connect_timeout: str = "5s"
    drain_timeout: str = "5s"
    final: str = "direct"
    max_flows: int = 8192
    nofile: int = 0  # limit of open files, 0: as here
    outbound: typing.Any = None  # members to add to the direct outbound
    outbounds: typing.Any = None  # a list instead of direct and block
    dns: typing.Any = None
    interfaces: typing.Any = None
    route: typing.Any = None  # members beside "final"
    relay: typing.Any = None  # members to add
    inbound: typing.Any = None  # the same

    def text(self, control):
        relay = ("method", "enter_after", "buffer_limit", "memory_limit", "half_close_timeout", "idle_timeout")
        direct = {"type": "direct", "tag": "direct", "routing_mark": 1514, "connect_timeout": self.connect_timeout}
        outbounds = [direct | (self.outbound or {}), {"type": "block", "tag": "block"}]
        inbound = {"type": "tproxy", "tag": "in", "listen": "::", "listen_port": PROXY_PORT, "network": "tcp"}
        inbound |= self.inbound or {}
        more = {key: getattr(self, key) for key in ("dns", "interfaces") if getattr(self, key) is not None}
        return json.dumps({
            "log": {"level": "info"}, "workers": 2, "control": {"socket": control},
            "inbounds": [inbound],
            "outbounds": self.outbounds or outbounds, "route": {"final": self.final} | (self.route or {}),
            "relay": {key: getattr(self, key) for key in relay} | (self.relay or {}),
            "limits": {"max_flows": self.max_flows, "drain_timeout": self.drain_timeout}} | more, indent=1)


class Daemon:
    """seamd in the router namespace; restarted only when a case wants another configuration."""

    def __init__(self, lab):
        self.lab, self.process, self.config, self.log, self.told = lab, None, None, None, 0
        self.folder = tempfile.TemporaryDirectory(prefix="seamtest-")
        self.socket = f"{self.folder.name}/ctl.sock"
        self.present, self.has_ctl = SEAMD != "none", SEAMD != "none" and os.access(SEAMCTL, os.X_OK)
        if self.present:
            lab.tool("rules", "nft", "install")

    def use(self, config):
        if self.present and not (config == self.config and self.alive()):
            self.stop()
            self.start(config)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def start(self, config):
        path = pathlib.Path(self.folder.name, "config.json")
        path.write_text(config.text(self.socket), encoding="utf-8")
        limit = [f"--nofile={config.nofile}:{config.nofile}"] if config.nofile else ["--core=0"]
        self.config, self.told, self.log = config, 0, pathlib.Path(self.folder.name, "stderr")
        with self.log.open("wb") as log:
            argv = ["nsenter", f"--net={self.lab.path('router')}", "prlimit", *limit, SEAMD, "run", "-c", str(path)]
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: not self.alive() or self.ready(), "seamd is not ready", 15)
        check(self.alive(), f"seamd ended with {self.process.poll()} at start")

    def ready(self):
        """The listener is there, and somebody answers at the control socket."""
        sockets = "".join(pathlib.Path(f"/proc/{self.pid}/net/{name}").read_text(encoding="ascii")
                          for name in ("tcp", "tcp6"))
        if not re.search(rf":{PROXY_PORT:04X} 0+:0000 0A", sockets):
            return False
        status = [SEAMCTL, "-s", self.socket, "status"]
        return not self.has_ctl or subprocess.run(status, capture_output=True).returncode == 0

    def stop(self, seconds=10):
        """SIGTERM; the daemon must end well and leave nothing behind that a sanitizer would report."""
        if self.process is None:
            return
        process, self.process = self.process, None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failure(f"seamd did not end within {seconds} s of SIGTERM")
        self.verdict(process.returncode)

    def verdict(self, code):
        found = SANITIZER.search(self.log.read_text(errors="replace"))
        check(not found, f"seamd: {found and found[0]}")
        check(code == 0, f"seamd ended with {code}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def log_lines(self):
        return self.log.read_text(errors="replace").splitlines() if self.log else []

    def news(self, most=40):
        """What seamd logged since this was asked last."""
        lines = self.log_lines()
        new, self.told = lines[self.told:], len(lines)
        return new[-most:]

    def ctl(self, *words):
        done = subprocess.run([SEAMCTL, "-s", self.socket, *words], capture_output=True, text=True, timeout=15)
        check(done.returncode == 0, f"seamctl {' '.join(words)}: {done.returncode} {done.stderr.strip()}")
        return done.stdout

    def flows(self):
        return json.loads(self.ctl("-j", "flows", "list"))

    def flow_of(self, client):
        """The entry of the flow whose client is this socket, or None."""
        port, to = client.getsockname()[1], ""
        with contextlib.suppress(OSError):  # it may be closed by now
            to = f":{client.getpeername()[1]}"  # a port may be one of several connections
        return next((flow for flow in self.flows() if str(flow["source"]).endswith(f":{port}") and
                     str(flow["destination"]).endswith(to)), None)

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_idle(self, seconds=5, may_linger=True):
        """Until no flow is left; parked ones that are over linger for some seconds."""
        if self.has_ctl:
            left = []
            wait_for(lambda: not left.__setitem__(slice(None), [flow for flow in self.flows()
                                                        if flow["state"] != "close" or not may_linger])
                     and not left,
                     lambda: f"{len(left)} flows left, first {left[0]}", seconds, 0.05)
