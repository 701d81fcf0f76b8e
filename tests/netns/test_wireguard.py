#!/usr/bin/python3
"""An outbound of type wireguard: the interface that seamd makes (by wireguard-go where the kernel has none), or one
that is there. The other end is a wireguard-go in the server's namespace, whose inner addresses serve TCP."""
import atexit
import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing

from daemon import NO_PACKET, SEAMD, Config
from dnsserver import DnsServer
from lab import SERVICE
from seamtest import Suite
from streams import MIB, Stream, receive, send, whole_blocks
from test_packet import talk_until_taken
from verdict import Skip, check, wait_for

MARK = 1514
PORT = 51820
PEER_NAME = "wg.seam.test"
PID = os.getpid() % 1000000
MADE, THERE, FAR = f"wgm{PID}", f"wgt{PID}", f"wgf{PID}"  # sockets of all namespaces lie in one folder
NEEDS = ("wireguard-go", "wg")
# family -> inner addresses of the peer, of the interface that seamd makes, and of the one that is there
INNER = {"v4": ("10.66.0.1", "10.66.0.2", "10.66.0.3"), "v6": ("fd66::1", "fd66::2", "fd66::3")}
BITS = {"v4": 32, "v6": 128}
ALL = ["0.0.0.0/0", "::/0"]


def key_pair():
    """(private, public) as WireGuard's base64."""
    private = subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout
    return private.strip(), subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True,
                                           check=True).stdout.strip()


LACKING = [word for word in NEEDS if not shutil.which(word)]
KEYS = {name: ("", "") if LACKING else key_pair() for name in (MADE, THERE, FAR)}


def outbound(address, **more):
    return {"type": "wireguard", "tag": "tunnel", "name": MADE, "private_key": KEYS[MADE][0],
            "address": [f"{INNER[family][1]}/{BITS[family]}" for family in INNER], "mtu": 1400, "routing_mark": MARK,
            "peers": [{"address": address, "port": PORT, "public_key": KEYS[FAR][1], "allowed_ips": ALL}]} | more


@dataclasses.dataclass(frozen=True)
class TunnelConfig(Config):
    """@tunnel: the outbound as JSON, so that configurations can be compared and hashed."""
    tunnel: str = ""
    final: str = "tunnel"
    enter_after: int = 0
    relay: typing.Any = dataclasses.field(default_factory=lambda: NO_PACKET)

    def text(self, control):
        config = json.loads(super().text(control))
        config["outbounds"].append(json.loads(self.tunnel))
        config["dns"] = {"servers": [{"type": "udp", "tag": "lab", "server": SERVICE["v4"]}]}
        return json.dumps(config, indent=1)


BY_V4, BY_V6, BY_NAME = (TunnelConfig(tunnel=json.dumps(outbound(address)))
                         for address in (SERVICE["v4"], SERVICE["v6"], PEER_NAME))
IS_THERE = TunnelConfig(tunnel=json.dumps({"type": "wireguard", "tag": "tunnel", "name": THERE}))
PACKET = dataclasses.replace(BY_V4, relay={"stall_after": "2MiB"})
TAKEN = TunnelConfig(tunnel=json.dumps(outbound(SERVICE["v4"], name="lan0")))


# Peers ------------------------------------------------------------------------------------------------

def hexadecimal(key):
    return base64.b64decode(key).hex()


def uapi(name, lines):
    """One operation of wireguard-go's configuration protocol; returns the answer."""
    with socket.socket(socket.AF_UNIX) as conn:
        conn.settimeout(5)
        conn.connect(f"/var/run/wireguard/{name}.sock")
        conn.sendall(("\n".join(lines) + "\n\n").encode())
        answer = ""
        while not answer.endswith("\n\n"):
            data = conn.recv(1 << 16)
            check(data, f"{name}: end after {answer!r}")
            answer += data.decode()
    check("errno=0\n" in answer, f"{name}: {answer.splitlines()[-2:]}")
    return answer


class Interface:
    """A wireguard-go of the test's own."""
    made = {}

    def __init__(self, lab, side, name, addresses, settings):
        self.lab, self.side, self.name = lab, side, name
        argv = ["nsenter", f"--net={lab.path(side)}", "wireguard-go", "-f", name]
        self.process = subprocess.Popen(argv, env=os.environ | {"LOG_LEVEL": "silent", "WG_PROCESS_FOREGROUND": "1"},
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        atexit.register(self.stop)
        wait_for(pathlib.Path(f"/var/run/wireguard/{name}.sock").exists, f"no socket of {name}")
        uapi(name, ["set=1", f"private_key={hexadecimal(KEYS[name][0])}", *settings])
        for address in addresses:
            lab.run(side, "ip", "addr", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
        lab.run(side, "ip", "link", "set", name, "mtu", "1400", "up")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(5)

    @classmethod
    def once(cls, lab, side, name, addresses, settings):
        """Made by the first case that wants it, kept for all: its sessions would be dead for the other end."""
        if name not in cls.made:
            cls.made[name] = cls(lab, side, name, addresses, settings)
        return cls.made[name]


def make_far_end(lab):
    settings = [f"listen_port={PORT}"]
    for number, name in ((1, MADE), (2, THERE)):
        settings += [f"public_key={hexadecimal(KEYS[name][1])}"]
        settings += [f"allowed_ip={INNER[family][number]}/{BITS[family]}" for family in INNER]
    Interface.once(lab, "server", FAR, [f"{INNER['v4'][0]}/24", f"{INNER['v6'][0]}/64"], settings)


def far_view(key):
    """What the far end says of a peer: {name: value}."""
    text = uapi(FAR, ["get=1"]).partition(f"public_key={hexadecimal(key)}\n")[2].partition("public_key=")[0]
    return dict(line.split("=", 1) for line in text.split() if "=" in line)


# Cases ------------------------------------------------------------------------------------------------

def pair(env, family, ours=1, seconds=20.0):
    """Both ends of a connection from the client to the peer's inner address."""
    listener = env.socket("server", family)
    listener.bind((INNER[family][0], 0))
    listener.listen()
    listener.settimeout(seconds)
    client = env.socket("client", family)
    client.connect(listener.getsockname()[:2])
    server = env.accept(listener)
    source = server.getpeername()[0]
    check(source == INNER[family][ours], f"the connection comes from {source}")
    return client, server


def first_pair(env, family, limit):
    """A lost handshake would take 5 s until the next one (REKEY_TIMEOUT)."""
    started = time.monotonic()
    ends = pair(env, family)
    seconds = time.monotonic() - started
    env.note(f"connected after {seconds:.2f} s")
    check(seconds < limit, f"connected after {seconds:.1f} s, not within {limit} s")
    return ends


def exchange(env, client, server, size=8 * MIB):
    """Both ways at once; the flow's method is looked at before the end."""
    up, down = Stream(11, size), Stream(12, size)
    if env.daemon.config == PACKET:  # a tunnel's segments are shorter; the client was told so
        talk_until_taken(env, client, server, server)
    env.together((send, client, up, whole_blocks, False), (receive, server, up, False),
                 (send, server, down, whole_blocks, False), (receive, client, down, False))
    if env.daemon.has_ctl:
        flow = wait_for(lambda: env.daemon.flow_of(client), "no flow")
        env.note(f"method {flow['method']}, {flow['up']['kernel_bytes'] * 100 // size} % up and "
                 f"{flow['down']['kernel_bytes'] * 100 // size} % down in the kernel")
        if env.daemon.config == PACKET:
            check(flow["method"] == "packet", f"method is {flow['method']}")
        elif any("relay: sockmap" in line for line in env.daemon.log_lines()):
            check(flow["method"] == "sockmap", f"method is {flow['method']}")
    for one, other in ((client, server), (server, client)):
        one.shutdown(socket.SHUT_WR)
        check(not other.recv(1), "bytes behind the end")


def stream(env, family):
    exchange(env, *first_pair(env, family, 1.5))
    got = int(far_view(KEYS[MADE][1]).get("rx_bytes", 0))
    check(got > 8 * MIB, f"the far end received {got} bytes by the tunnel")


def routing(env, family):
    """Only who is bound to the interface finds its routes; the kernel's main table knows nothing of it."""
    ip, far = ["ip", "-6" if family == "v6" else "-4"], INNER[family][0]
    rules = env.lab.run("router", *ip, "rule")
    check(len(re.findall(rf"^540:.*\boif {MADE}\b", rules, re.M)) == 1, f"rules are {rules}")
    check(MADE in env.lab.run("router", *ip, "route", "get", far, "oif", MADE), "no route for bound sockets")
    main = [line for line in env.lab.run("router", *ip, "route", "show", "table", "main").splitlines()
            if MADE in line and not line.startswith(("fe80:", "multicast"))]
    check(not main, f"in the main table: {main}")


@contextlib.contextmanager
def counters(env):
    """Encrypted packets that leave the router, by mark."""
    rules = "\n".join(f"udp dport {PORT} meta mark {sign} {MARK} counter" for sign in ("==", "!="))
    env.lab.run("router", "nft", "-f", "-", stdin="table inet wgtest {\nchain c {\ntype filter hook output "
                f"priority 300; policy accept;\n{rules}\n}}\n}}\n")
    try:
        yield lambda: [int(count) for count in re.findall(
            r"counter packets (\d+)", env.lab.run("router", "nft", "list", "table", "inet", "wgtest"))]
    finally:
        env.lab.run("router", "nft", "delete", "table", "inet", "wgtest")


def mark(env):
    with counters(env) as count:
        exchange(env, *pair(env, "v4"), MIB)
        marked, plain = count()
    check(marked > 0 and plain == 0, f"{marked} packets are marked, {plain} are not")


def said(env, text):
    """How many lines of the log hold it."""
    return sum(text in line for line in env.daemon.log_lines())


def fails_at_once(env, family):
    client, started = env.socket("client", family), time.monotonic()
    try:
        client.connect((INNER[family][0], 9))
        answer = client.recv(1)
    except ConnectionResetError:
        answer = None
    seconds = time.monotonic() - started
    check(answer is None, f"no reset but {answer!r}")
    check(seconds < 1, f"the dial failed after {seconds:.1f} s")


def resolve_peer(env):
    """seamd starts before the DNS server and goes on asking; the interface is down until there is an answer."""
    where = f"peer {PEER_NAME} is at {SERVICE['v4']}:{PORT}"
    if said(env, where):
        return
    for family in INNER:
        fails_at_once(env, family)
    check("DOWN" in env.lab.run("router", "ip", "-brief", "link", "show", MADE), "the interface is up")
    with env.lab.inside("server"):
        names = DnsServer(SERVICE["v4"], zone={PEER_NAME: {"A": [SERVICE["v4"]]}})
    with names:
        wait_for(lambda: said(env, where), lambda: f"no endpoint; asked were {names.questions}", 40)
        check(names.asked(PEER_NAME, "A"), f"asked were {names.questions}")


def by_name(env, family):
    resolve_peer(env)
    exchange(env, *first_pair(env, family, 2), MIB)


def kill_processes(_):
    for pid in processes():
        os.kill(int(pid), signal.SIGKILL)


def delete_link(env):
    env.lab.run("router", "ip", "link", "del", MADE)


def reborn(env, end=kill_processes, by_name=False):
    """wireguard-go ends: seamd makes the interface again, with the endpoint; there is no DNS server any more."""
    if by_name:
        resolve_peer(env)
    pair(env, "v4")
    if not processes():
        raise Skip("the kernel has WireGuard, there is no process")
    gone, made = f"interface {MADE} is gone: ", f"interface {MADE}, by "
    before, started = [said(env, text) for text in (gone, made)], time.monotonic()
    end(env)
    wait_for(lambda: said(env, made) > before[1], "not made again")
    client, server = pair(env, "v4")
    seconds = time.monotonic() - started
    env.note(f"connected {seconds:.2f} s after its end")
    check(seconds < 3, f"it took {seconds:.1f} s")
    exchange(env, client, server, MIB)
    check(said(env, gone) == before[0] + 1, "its end is not in the log once")
    for family in INNER:
        routing(env, family)


def is_there(env, family):
    """Only `name`: seamd uses the interface with what routes it has, and leaves it when it stops."""
    settings = [f"fwmark={MARK}", f"public_key={hexadecimal(KEYS[FAR][1])}", f"endpoint={SERVICE['v4']}:{PORT}",
                *(f"allowed_ip={prefix}" for prefix in ALL)]
    Interface.once(env.lab, "router", THERE, [f"{INNER['v4'][2]}/24", f"{INNER['v6'][2]}/64"], settings)
    exchange(env, *pair(env, family, ours=2), MIB)
    check(THERE not in env.lab.run("router", "ip", "rule"), "a rule for an interface that is not ours")


def is_there_still(env):
    """After a stop; the interface and its process are not seamd's."""
    env.daemon.stop()
    if THERE in Interface.made:
        env.lab.run("router", "ip", "link", "show", THERE)
        uapi(THERE, ["get=1"])


def processes():
    """Pids of wireguard-go for our interface, in any namespace."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"wireguard-go" in words[0] and MADE.encode() in words:
                found.append(path.parent.name)
    return found


def leftovers(env):
    rules = env.lab.run("router", "ip", "rule") + env.lab.run("router", "ip", "-6", "rule")
    return [what for what, there in (
        ("the interface", MADE in env.lab.run("router", "ip", "-brief", "link")), ("a rule", MADE in rules),
        ("a process", processes()), ("a socket", os.path.exists(f"/var/run/wireguard/{MADE}.sock"))) if there]


def stop(env):
    check("the interface" in leftovers(env) and "a rule" in leftovers(env), f"there are only {leftovers(env)}")
    for end in pair(env, "v4"):
        end.close()
    env.daemon.stop()
    check(not leftovers(env), f"left behind: {leftovers(env)}")


def killed(env):
    """wireguard-go does not survive its daemon; what does is cleared by the next start."""
    if not processes():
        raise Skip("the kernel's own WireGuard survives, it has to be removed by hand")
    config = env.daemon.config
    env.daemon.kill()
    wait_for(lambda: set(leftovers(env)) <= {"a rule"}, lambda: f"left behind: {leftovers(env)}")
    env.daemon.start(config)
    rules = env.lab.run("router", "ip", "rule")
    check(rules.count(MADE) == 1, f"rules are {rules}")
    exchange(env, *pair(env, "v4"), MIB)


def name_is_taken(env):
    """The interface is somebody's: seamd says so, does not start, and does not touch it."""
    env.daemon.stop()
    before = env.lab.run("router", "ip", "-d", "addr", "show", "lan0")
    with tempfile.TemporaryDirectory(prefix="seamtest-") as folder:
        path = pathlib.Path(folder, "config.json")
        path.write_text(TAKEN.text(f"{folder}/ctl.sock"), encoding="utf-8")
        done = subprocess.run(["nsenter", f"--net={env.lab.path('router')}", SEAMD, "run", "-c", str(path)],
                              capture_output=True, text=True, timeout=15)
    check(done.returncode == 1, f"seamd ended with {done.returncode}")
    check("outbound tunnel: interface lan0 exists" in done.stderr, f"seamd said {done.stderr}")
    check(env.lab.run("router", "ip", "-d", "addr", "show", "lan0") == before, "lan0 has changed")


def secrets(env):
    """No key in the log."""
    text = "\n".join(env.daemon.log_lines())
    for key in (KEYS[MADE][0], hexadecimal(KEYS[MADE][0])):
        check(key not in text, "the private key is in the log")


class TunnelSuite(Suite):
    """The far end is there before the daemon: a handshake with nobody would hold back the next one."""

    def one(self, case, lab, daemon):
        if LACKING or not daemon.present:
            print(f"skip {case.name}: no {LACKING[0] if LACKING else 'daemon'}", flush=True)
            return
        make_far_end(lab)
        super().one(case, lab, daemon)


def main():
    suite = TunnelSuite()
    for name, config in (("v4-endpoint", BY_V4), ("v6-endpoint", BY_V6)):
        for family in INNER:
            suite.add(f"wireguard/{name}/{family}/stream", stream, config, 60, family=family)
    for family in INNER:
        suite.add(f"wireguard/routing/{family}", routing, BY_V4, family=family)
    suite.add("wireguard/packet", stream, PACKET, 60, family="v4")
    suite.add("wireguard/mark", mark, BY_V4, 60)
    suite.add("wireguard/secrets", secrets, BY_V4)
    suite.add("wireguard/killed", killed, BY_V4, 60)
    suite.add("wireguard/reborn/killed", reborn, BY_V4, 60)
    suite.add("wireguard/reborn/deleted", reborn, BY_V4, 60, end=delete_link)
    suite.add("wireguard/stop", stop, BY_V4)
    suite.add("wireguard/name-is-taken", name_is_taken, BY_V4)
    for family in INNER:
        suite.add(f"wireguard/by-name/{family}", by_name, BY_NAME, 90, family=family)
        suite.add(f"wireguard/is-there/{family}", is_there, IS_THERE, 60, family=family)
    suite.add("wireguard/reborn/by-name", reborn, BY_NAME, 90, by_name=True)
    suite.add("wireguard/is-there/still", is_there_still, IS_THERE)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
