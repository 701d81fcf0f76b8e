#!/usr/bin/python3
"""Every dialer option as the server and the wire see it, both families: TCP flows, and by `detour` of a DNS server
the UDP sockets of the same outbound. `direct` carries the flows, `way` the questions."""
import contextlib
import dataclasses
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time

from daemon import SEAMD, Config
from dnsserver import DnsServer
from lab import SERVICE
from seamtest import Suite
from streams import MIB, Stream, expect_reset, ping_pong, receive, reset_and_close, send, whole_blocks
from verdict import Skip, check, wait_for

NAME = "service.test"
LONG_NAME = ".".join(["x" * 60] * 4)
CLIENT = {"v4": "10.77.1.2", "v6": "fd77:1::2"}
WAN0 = {"v4": "10.77.2.1", "v6": "fd77:2::1"}
WAN1 = {"v4": "10.77.3.1", "v6": "fd77:3::1"}
ELSEWHERE = {"v4": "10.77.2.2", "v6": "fd77:2::2"}  # also the server's, but nothing listens there
IP = {"v4": "ip", "v6": "ip6"}
OTHER = {"v4": "v6", "v6": "v4"}
MARK, PROTECT_MARK = 0x6151, 0x6152
KICK_SECONDS = 0.3  # how long a connection with a cookie waits for the client's first bytes
SYN, ACK = 2, 16


@dataclasses.dataclass(frozen=True)
class OneWorker(Config):
    """So that there is one cache."""

    def text(self, control):
        return json.dumps(json.loads(super().text(control)) | {"workers": 1}, indent=1)


def direct(kind=Config, **option):
    return kind("copy", outbound=option)


def named(family="v4", server="udp", kind=Config, to_name=None, name=NAME, **option):
    """Flows go to @name, and have to ask for it by an outbound with the same options."""
    dns = {"type": server, "tag": "dns", "server": SERVICE[family], "detour": "way"}
    to = {"type": "direct", "tag": "direct", "override_address": name} | option | (to_name or {})
    return kind("copy", outbounds=[to, {"type": "direct", "tag": "way"} | option], dns={"servers": [dns]})


# What the outside sees --------------------------------------------------------------------------------

class Names(DnsServer):
    """On the service address, until the case ends; @name has these addresses, others are NXDOMAIN."""

    def __init__(self, env, family, addresses, name=NAME, **more):
        lists = {"A": [address for address in addresses if ":" not in address],
                 "AAAA": [address for address in addresses if ":" in address]}
        with env.lab.inside("server"):
            super().__init__(SERVICE[family], zone={name: lists | more})
        env.open.append(self)

    def shutdown(self, _):
        """What is open in an Env has one."""

    def types(self):
        return sorted(question.type for question in self.questions)

    def sources(self):
        return {question.sender[0] for question in self.questions}


@dataclasses.dataclass
class Packet:
    """IP, and what is behind it of TCP and UDP; outgoing: as the namespace sees it that captures."""
    outgoing: bool
    df: bool
    more: bool  # fragments
    protocol: int
    ports: tuple
    flags: int = 0
    options: dict = None
    payload: bytes = b""

    @classmethod
    def parse(cls, data, outgoing):
        df = more = offset = 0
        if data[0] >> 4 == 4:
            length, bits = struct.unpack_from("!H2xH", data, 2)
            protocol, rest = data[9], data[(data[0] & 15) * 4:length]
            df, more, offset = bool(bits & 0x4000), bool(bits & 0x2000), bits & 0x1fff
        else:
            protocol, rest = data[6], data[40:]
        if protocol not in (6, 17) or offset:
            return None
        packet = cls(outgoing, df, more, protocol, struct.unpack_from("!HH", rest))
        if protocol == 6:
            head = (rest[12] >> 4) * 4
            packet.flags, packet.options, packet.payload = rest[13], dict(cls.tcp_options(rest[20:head])), rest[head:]
        return packet

    @staticmethod
    def tcp_options(data):
        while data and data[0]:
            length = 1 if data[0] == 1 else data[1]
            yield data[0], data[2:length]
            data = data[length:]


class Capture:
    """Packets of an interface of the router from now on, with this port on the far side."""

    def __init__(self, env, interface, port):
        self.port, self.seen = port, []
        with env.lab.inside("router"):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)
        self.sock.bind((interface, 3))
        env.open.append(self.sock)

    def packets(self, outgoing=True):
        while select.select([self.sock], [], [], 0)[0]:
            data, address = self.sock.recvfrom(65536)
            packet = Packet.parse(data, address[2] == socket.PACKET_OUTGOING) if address[1] in (0x800, 0x86dd) else None
            if packet and packet.ports[packet.outgoing] == self.port:
                self.seen.append(packet)
        return [packet for packet in self.seen if packet.outgoing == outgoing]

    def syns(self):
        return [packet for packet in self.packets() if packet.flags & (SYN | ACK) == SYN]


@contextlib.contextmanager
def counting(env, **expressions):
    """Counters of what leaves the router; yields a function that reads one."""
    counters = "\n".join(f"counter of_{name} {{}}" for name in expressions)
    rules = "\n".join(f'{text} counter name "of_{name}"' for name, text in expressions.items())
    env.lab.run("router", "nft", "-f", "-", stdin=f"table inet sent {{\n{counters}\nchain c {{\n"
                f"type filter hook output priority 0; policy accept;\n{rules}\n}}\n}}\n")
    try:
        yield lambda name: int(re.search(r"packets (\d+)", env.lab.run("router", "nft", "list", "counter", "inet",
                                                                       "sent", f"of_{name}"))[1])
    finally:
        env.lab.run("router", "nft", "delete", "table", "inet", "sent")


@contextlib.contextmanager
def sysctl(env, side, **values):
    """Values of net.ipv4 in a namespace, for a while."""
    before = {key: env.lab.run(side, "sysctl", "-n", f"net.ipv4.{key}").strip() for key in values}
    try:
        for key, value in values.items():
            env.lab.run(side, "sysctl", "-q", f"net.ipv4.{key}={value}")
        yield
    finally:
        for key, value in before.items():
            env.lab.run(side, "sysctl", "-q", f"net.ipv4.{key}={value}")


def by_name(env, family, name=NAME):
    """A flow to @name; the name server, the client, the server's end."""
    env.need_daemon()
    dns = Names(env, family, [SERVICE[family]], name)
    client, server = env.pair(family)
    ping_pong(client, server, 3, 100)
    return dns, client, server


def forget(env):
    """The daemon has an empty cache after."""
    env.need_daemon()
    config = env.daemon.config
    env.daemon.stop()
    env.daemon.use(config)


def source_of(conn):
    return conn.getpeername()[0]


def same_bytes(env, client, server, size=8 * MIB):
    up, down = Stream(1, size), Stream(2, size)
    env.together((send, client, up), (receive, server, up), (send, server, down), (receive, client, down))


def closed(env, reason):
    """How many flows ended for this reason."""
    found = re.search(rf'^seam_flows_closed_total{{reason="{reason}"}} (\d+)', env.daemon.ctl("metrics"), re.M)
    check(found, f"no counter for the reason {reason}")
    return int(found[1])


def fails(env, address, family, reason, words=(), between=(0, 3)):
    """The client gets an RST in time, the flow ends for @reason, and one line of the log has all @words."""
    env.need_ctl()
    before, lines, started = closed(env, reason), len(env.daemon.log_lines()), time.monotonic()
    client = env.socket("client", family)
    with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
        client.connect(address[:2])
        expect_reset(client, between[1] + 1, drain=False)
    took = time.monotonic() - started
    check(between[0] <= took <= between[1], f"RST after {took:.2f} s, not within {between[0]:g} to {between[1]:g} s")
    wait_for(lambda: closed(env, reason) > before, f"no flow ended with {reason}")
    news = env.daemon.log_lines()[lines:]
    check(not words or any(all(word in line for word in words) for line in news), f"no line with {words}: {news}")


# Where a connection leaves, and as who -------------------------------------------------------------------

def routing_mark(env, family):
    to = f"{IP[family]} daddr {SERVICE[family]}"
    with counting(env, tcp=f"meta mark {MARK} meta l4proto tcp {to}", udp=f"meta mark {MARK} meta l4proto udp {to}",
                  other=f"meta mark != {MARK} {to}") as packets:
        by_name(env, family)
        for name in ("tcp", "udp"):
            check(packets(name) >= 2, f"{packets(name)} {name} packets with the mark")
        check(not packets("other"), f"{packets('other')} packets without the mark")


def mark_of_questions(env, family):
    """Without a detour they have the mark of route.final, so that the firewall lets them pass."""
    with counting(env, marked=f"meta mark {MARK} udp dport 53", other=f"meta mark != {MARK} udp dport 53") as packets:
        by_name(env, family)
        check(packets("marked") >= 2 and not packets("other"), f"{packets('other')} questions without the mark")


def leaves(env, family, source, interface):
    """The flow and the questions have this source address, and leave by this interface."""
    other = {"wan0": "wan1", "wan1": "wan0"}[interface]
    to = f"{IP[family]} daddr {SERVICE[family]}"
    with counting(env, tcp=f"oifname {interface} meta l4proto tcp {to}", other=f"oifname {other} {to}",
                  udp=f"oifname {interface} meta l4proto udp {to}") as packets:
        dns, _, server = by_name(env, family)
        check(source_of(server) == source, f"the server sees {source_of(server)}")
        check(dns.sources() == {source}, f"the name server saw {dns.questions}")
        for name in ("tcp", "udp"):
            check(packets(name) >= 2, f"{packets(name)} {name} packets by {interface}")
        check(not packets("other"), f"{packets('other')} packets by {other}")


def ports_shared(env, family, ports, shared):
    """Two ports, five destinations: enough if the port is chosen for the destination only."""
    env.need_daemon()
    low, high = ports
    with sysctl(env, "router", ip_local_port_range=f"{low} {high}"):
        for _ in range(5 if shared else 2):
            client, server = env.pair(family)
            ping_pong(client, server, 1)
            check(server.getpeername()[0] == WAN1[family] and low <= server.getpeername()[1] <= high,
                  f"the server sees {server.getpeername()[:2]}")
        if not shared:
            fails(env, env.listen(family).getsockname(), family, "dial-failed", ("bind", "Address already in use"))


@contextlib.contextmanager
def elsewhere(env):
    """A namespace with an uplink of its own to the server; yields its name."""
    name, server = f"{env.lab.name}-else", f"{env.lab.name}-server"
    script = f"""ip netns add {name}
ip -n {name} link add wan2 type veth peer name wan2 netns {server}
for side in "{name} 1" "{server} 2"; do
    set -- $side
    ip -n $1 addr add 10.77.4.$2/24 dev wan2
    ip -n $1 addr add fd77:4::$2/64 dev wan2 nodad
    ip -n $1 link set wan2 up
done
ip -n {name} link set lo up
ip -n {name} route add 10.77.9.9 via 10.77.4.2
ip -n {name} route add fd77:9::9 via fd77:4::2"""
    try:
        subprocess.run(["sh", "-ec", script], check=True)
        wait_for(lambda: "DOWN" not in subprocess.run(["ip", "-n", name, "-br", "link"], capture_output=True, text=True,
                                                      check=True).stdout, "wan2 does not come up")
        yield name
    finally:
        for words in (("-n", name, "link", "del", "wan2"), ("netns", "del", name)):
            subprocess.run(["ip", *words], check=False)


def netns(env, by):
    """Its sockets are in another namespace, named or by path; what changes in the router's does not touch them."""
    env.need_daemon()
    with elsewhere(env) as name:
        for family, source in (("v4", "10.77.4.1"), ("v6", "fd77:4::1")):
            env.daemon.use(named(family, netns=name if by == "name" else f"/run/netns/{name}"))
            dns, client, server = by_name(env, family)
            check(source_of(server) == source, f"the server sees {source_of(server)}")
            check(dns.sources() == {source}, f"the name server saw {dns.questions}")
            env.lab.run("router", "ip", "addr", "add", "10.77.8.1/32", "dev", "lo")
            time.sleep(0.4)
            env.lab.run("router", "ip", "addr", "del", "10.77.8.1/32", "dev", "lo")
            same_bytes(env, client, server, MIB)
            env.daemon.wait_idle()


def transparent(env, family, port):
    """The server sees the client, the client the server; both ways every byte."""
    dns, client, server = by_name(env, family)
    peer, own = server.getpeername(), client.getsockname()
    check(peer[0] == CLIENT[family] == own[0], f"the server sees {peer[0]}")
    check(not port or peer[1] == own[1], f"the server sees port {peer[1]}, the client has {own[1]}")
    check(dns.sources() == {WAN0[family]}, f"the name server saw {dns.questions}")
    same_bytes(env, client, server)
    fails(env, (SERVICE[family], 9), family, "dial-failed", ("Connection refused",))


def transparent_other_family(env, family):
    """A client's address is of no use where the other family leads."""
    fails(env, (SERVICE[family], 9), family, "dial-failed", ("transparent_source of another family",), between=(0, 1))


@contextlib.contextmanager
def policy(env, family):
    """Packets with our mark leave by wan1."""
    ip = ["ip", "-6" if family == "v6" else "-4"]
    via = {"v4": "10.77.3.2", "v6": "fd77:3::2"}[family]
    env.lab.run("router", *ip, "route", "add", SERVICE[family], "via", via, "dev", "wan1", "table", "77")
    env.lab.run("router", *ip, "rule", "add", "pref", "700", "fwmark", "1514", "lookup", "77")
    try:
        yield
    finally:
        env.lab.run("router", *ip, "rule", "del", "pref", "700")
        env.lab.run("router", *ip, "route", "flush", "table", "77")


def connects(env, client):
    return [attempt for attempt in env.daemon.flow_of(client)["attempts"] if attempt["step"] == "connect"]


def check_bound(env, family, device, source):
    client, server = env.pair(family)
    ping_pong(client, server, 1)
    check([attempt["interface"] for attempt in connects(env, client)] == [device], f"tried {connects(env, client)}")
    check(source_of(server) == source, f"the server sees {source_of(server)}")
    sockets = env.lab.run("router", "ss", "-Htn", f"dport = :{server.getsockname()[1]}")
    check(f"%{device}:" in sockets, f"not bound to {device}: {sockets}")


def auto_detect(env, family):
    """The policy routing of our own mark decides, and anew for each dial."""
    env.need_ctl()
    check_bound(env, family, "wan0", WAN0[family])
    with policy(env, family):
        check_bound(env, family, "wan1", WAN1[family])
    check_bound(env, family, "wan0", WAN0[family])


class Protect:
    """The service at protect_path; @how: "mark" the socket and answer, "refuse", or stay "silent"."""

    def __init__(self, env, path, how):
        self.how, self.shown = how, 0
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        env.open.append(self.listener)
        self.listener.bind(path)
        self.listener.listen()
        env.spawn(self.serve, env)

    def serve(self, env):
        while True:
            conn, _ = self.listener.accept()
            data, fds, _, _ = socket.recv_fds(conn, 8, 4)
            self.shown += len(data) == len(fds) == 1
            for fd in fds:
                with socket.socket(fileno=fd) as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROTECT_MARK)
            if self.how == "mark":
                with contextlib.suppress(BrokenPipeError):  # the client has left, and the daemon with it
                    conn.sendall(b"\x01")
            if self.how != "silent":
                conn.close()
            env.open.append(conn)


@contextlib.contextmanager
def protecting(env, path, how):
    try:
        yield Protect(env, path, how)
    finally:
        os.unlink(path)


def protect(env, family, path):
    """The service has its say before the first packet: all of them carry its mark."""
    env.need_daemon()
    to = f"meta l4proto tcp {IP[family]} daddr {SERVICE[family]}"
    with protecting(env, path, "mark") as service, counting(env, marked=f"meta mark {PROTECT_MARK} {to}",
                                                            other=f"meta mark != {PROTECT_MARK} {to}") as packets:
        client, server = env.pair(family)
        ping_pong(client, server, 3)
        check(service.shown == 1, f"the service was shown {service.shown} sockets")
        check(packets("marked") >= 2 and not packets("other"), f"{packets('other')} packets without the mark")


def protect_fails(env, family, path):
    address = env.listen(family).getsockname()
    fails(env, address, family, "dial-failed", ("protect", "No such file"))
    with protecting(env, path, "refuse"):
        fails(env, address, family, "dial-failed", ("protect", "Permission denied"))
    with protecting(env, path, "silent"):
        fails(env, address, family, "dial-timeout", between=(0.8, 1.2))


# UDP --------------------------------------------------------------------------------------------------

def reuse_addr(env, family, works):
    """The only port there is belongs to a socket that would share it."""
    env.need_daemon()
    with env.lab.inside("router"):
        holder = socket.socket(socket.AF_INET6 if family == "v6" else socket.AF_INET, socket.SOCK_DGRAM)
    env.open.append(holder)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("::" if family == "v6" else "", 40020))
    with sysctl(env, "router", ip_local_port_range="40020 40020"):
        if works:
            dns, _, _ = by_name(env, family)
            check(dns.questions, "no question")
        else:
            dns = Names(env, family, [SERVICE[family]])
            fails(env, env.listen(family).getsockname(), family, "dial-failed", ("server unreachable",))
            check(not dns.questions, f"the name server was asked: {dns.questions}")


def udp_fragment(env, allowed):
    """A question that does not fit into one packet leaves as two, or not at all."""
    env.need_daemon()
    capture, route = Capture(env, "wan0", 53), ("10.77.9.9/32", "via", "10.77.2.2", "dev", "wan0", "metric", "10")
    env.lab.run("router", "ip", "route", "replace", *route, "mtu", "200")
    try:
        if allowed:
            by_name(env, "v4", LONG_NAME)
            check(all(packet.more and not packet.df for packet in capture.packets()), f"sent {capture.seen}")
        else:
            dns = Names(env, "v4", [SERVICE["v4"]], LONG_NAME)
            fails(env, (SERVICE["v4"], 9), "v4", "dial-failed", ("server unreachable",))
            check(not dns.questions and not capture.packets(), f"sent {capture.seen}")
    finally:
        env.lab.run("router", "ip", "route", "replace", *route)
    if not allowed:
        forget(env)
        fails(env, (SERVICE["v4"], 9), "v4", "dial-failed", ("Connection refused",))
        check(capture.packets() and all(packet.df for packet in capture.packets()), f"sent {capture.seen}")


# Time -------------------------------------------------------------------------------------------------

def black_hole(env):
    """Answers nothing: connect_timeout, or dial_timeout, of a second."""
    env.need_daemon()
    with env.lab.nft(server="tcp dport 9 drop"):
        env.together(*((fails, env, (SERVICE[family], 9), family, "dial-timeout", (), (0.8, 1.2))
                       for family in ("v4", "v6")))


def many_black_holes(env):
    """Of all addresses together."""
    Names(env, "v4", [*SERVICE.values(), "10.77.2.2", "10.77.3.2", "fd77:2::2"])
    with env.lab.nft(server="tcp dport 9 drop"):
        fails(env, (SERVICE["v4"], 9), "v4", "dial-timeout", between=(0.8, 1.2))


def keep_alive(env, on):
    """Probes every second, and after two without an answer the end; or none at all."""
    env.need_daemon()
    pairs = {family: env.pair(family) for family in ("v4", "v6")}
    for client, server in pairs.values():
        ping_pong(client, server, 3)
    time.sleep(0.3)
    captures = {family: Capture(env, "wan0", server.getsockname()[1]) for family, (_, server) in pairs.items()}
    time.sleep(2.5 if on else 1.5)
    for family, (client, server) in pairs.items():
        probes = captures[family].packets()
        check(len(probes) in ((2, 3) if on else (0,)), f"{family}: {len(probes)} probes")
        check(all(not packet.payload and packet.flags == ACK for packet in probes), f"not only probes: {probes}")
        ping_pong(client, server, 1)
    if on:
        started = time.monotonic()
        with env.lab.nft(server="meta l4proto tcp drop"):
            for client, _ in pairs.values():
                expect_reset(client, 6)
        took = time.monotonic() - started
        check(2 < took < 4.5, f"the end came after {took:.1f} s, not 3 s")


# TCP Fast Open ----------------------------------------------------------------------------------------

@contextlib.contextmanager
def fast_open(env):
    """Both ends may; the router has no cookie yet."""
    env.need_daemon()
    with sysctl(env, "router", tcp_fastopen=1, tcp_fastopen_blackhole_timeout_sec=0), \
            sysctl(env, "server", tcp_fastopen=2):
        env.lab.run("router", "ip", "tcp_metrics", "flush", "all")
        yield


def fast_listener(env, family):
    listener = env.listen(family)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 100)
    return listener


def reach(env, listener, family, say=b""):
    """A client that may speak first, and the server's end."""
    client = env.connect(listener.getsockname(), family)
    if say:
        client.sendall(say)
    return client, env.accept(listener)


def get_cookie(env, listener, family):
    client, server = reach(env, listener, family, b"first")
    check(server.recv(5, socket.MSG_WAITALL) == b"first", "the first connection is broken")
    server.sendall(b"answer")
    check(client.recv(6, socket.MSG_WAITALL) == b"answer", "the first connection is broken")
    client.close()
    server.close()


def fast_open_data(env, family):
    """The first connection asks for a cookie, the next one's SYN has the client's data."""
    with fast_open(env):
        listener = fast_listener(env, family)
        capture = Capture(env, "wan0", listener.getsockname()[1])
        get_cookie(env, listener, family)
        syns = capture.syns()
        check([packet.options.get(34) for packet in syns] == [b""] and not syns[0].payload,
              f"no question for a cookie: {syns}")
        client, server = reach(env, listener, family, b"hello")
        check(server.recv(5, socket.MSG_WAITALL) == b"hello", "the data of the SYN got lost")
        syns = capture.syns()
        check(len(syns) == 2 and syns[1].options.get(34) and syns[1].payload == b"hello",
              f"no data in the SYN: {syns[1:]}")
        server.sendall(b"answer")
        check(client.recv(6, socket.MSG_WAITALL) == b"answer", "no answer")
        flow = env.daemon.flow_of(client)
        told = [attempt["result"] for attempt in connects(env, client)]
        check(told == ["connected"] and flow["up"]["bytes"] == 5, f"{flow['up']['bytes']} bytes, the trace says {told}")
        same_bytes(env, client, server, MIB)


def fast_open_silent(env, family):
    """Who waits for the server's greeting gets it although nothing is there to send with the SYN."""
    with fast_open(env):
        listener = fast_listener(env, family)
        get_cookie(env, listener, family)
        capture, started = Capture(env, "wan0", listener.getsockname()[1]), time.monotonic()
        client, server = reach(env, listener, family)
        server.sendall(b"220 ready")
        check(client.recv(9, socket.MSG_WAITALL) == b"220 ready", "no greeting")
        took = time.monotonic() - started
        check(took < KICK_SECONDS + 0.2, f"the greeting took {took:.2f} s")
        check(len(capture.syns()) == 1 and capture.syns()[0].options.get(34), f"no cookie was used: {capture.syns()}")
        ping_pong(client, server, 20, 100)


def fast_open_refused(env, family):
    """connect() has said yes before the server says no: the client must hear it all the same."""
    with fast_open(env):
        listener = fast_listener(env, family)
        get_cookie(env, listener, family)
        for say in (b"hello", b""):
            client = env.connect((SERVICE[family], 9), family)
            before, started = closed(env, "dial-failed"), time.monotonic()
            if say:
                client.sendall(say)
            expect_reset(client, 3, drain=False)
            took = time.monotonic() - started
            check(took < KICK_SECONDS + 0.2, f"RST after {took:.2f} s")
            wait_for(lambda before=before: closed(env, "dial-failed") > before, "no flow ended with dial-failed")


def fast_open_much(env, family):
    """More than a SYN can hold, and the FIN right behind: nothing is lost or sent twice."""
    with fast_open(env):
        listener = fast_listener(env, family)
        get_cookie(env, listener, family)
        for size in (1, 1000, 5000, 20000, MIB):
            client, stream = env.connect(listener.getsockname(), family), Stream(size, size)
            sending = env.spawn(send, client, stream)
            receive(env.accept(listener), stream)
            sending.result()


def fast_open_dropped(env, family):
    """Somebody on the way drops SYNs with data: the kernel tries without."""
    with fast_open(env):
        listener = fast_listener(env, family)
        get_cookie(env, listener, family)
        with env.lab.nft(server="tcp flags & (syn | ack) == syn meta length > 100 counter drop"):
            client, server = reach(env, listener, family, b"x" * 200)
            rules = env.lab.run("server", "nft", "list", "table", "inet", "e2e")
        check("counter packets 0 " not in rules, f"nothing was dropped: {rules}")
        check(server.recv(200, socket.MSG_WAITALL) == b"x" * 200, "the data got lost")
        ping_pong(client, server, 5)


def fast_open_black_hole(env, family):
    """connect_timeout counts although connect() says yes at once."""
    with fast_open(env):
        listener = fast_listener(env, family)
        get_cookie(env, listener, family)
        before, clients, started = closed(env, "dial-timeout"), [], time.monotonic()
        with env.lab.nft(server="tcp dport 9 drop"):
            for say in (b"hello", b""):
                clients.append(env.connect((SERVICE[family], 9), family))
                clients[-1].sendall(say)
            for client in clients:
                expect_reset(client, 3, drain=False)
        took = time.monotonic() - started
        check(0.8 < took < 1.3 + KICK_SECONDS, f"RST after {took:.2f} s")
        check(closed(env, "dial-timeout") == before + 2, "not ended with dial-timeout")


def fast_open_gone(env, family):
    """The client goes while its first bytes are waited for: no connection is made, or it is reset."""
    with fast_open(env):
        listener = fast_listener(env, family)
        get_cookie(env, listener, family)
        env.connect(listener.getsockname(), family).close()
        listener.settimeout(KICK_SECONDS + 0.2)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            server = env.accept(listener)
            check(not server.recv(1), "data from nowhere")


# Multipath TCP ----------------------------------------------------------------------------------------

MULTI_PATH = Config("auto", enter_after=0, outbound={"tcp_multi_path": True})


def multi_path_pair(env, family, able):
    """By MPTCP if the server is @able to."""
    env.need_ctl()
    with env.lab.inside("server"):
        protocol = socket.IPPROTO_MPTCP if able else socket.IPPROTO_TCP
        listener = socket.socket(socket.AF_INET6 if family == "v6" else socket.AF_INET, socket.SOCK_STREAM, protocol)
    env.open.append(listener)
    listener.settimeout(20)
    listener.bind((SERVICE[family], 0))
    listener.listen()
    client, server = reach(env, listener, family, b"hello")
    check(server.recv(5, socket.MSG_WAITALL) == b"hello", "got something else")
    port = listener.getsockname()[1]
    paths = [line for line in env.lab.run("server", "ss", "-HMn").splitlines() if f":{port} " in line]
    check(bool(paths) == able, f"ss -M says {paths}")
    return client, server


def multi_path(env, family, able):
    """To a server that is able to, and to one that is not: every byte, and never by the sockmap if MPTCP."""
    client, server = multi_path_pair(env, family, able)
    same_bytes_open(env, client, server)
    flow = env.daemon.flow_of(client)
    check(flow["method"] != "sockmap", "MPTCP in the sockmap")
    check(not able or flow["refused"] == "mptcp", f"refused: {flow['refused']}")
    client.shutdown(socket.SHUT_WR)
    check(not server.recv(1), "data in place of FIN")
    server.sendall(b"last words")
    server.shutdown(socket.SHUT_WR)
    check(client.recv(100, socket.MSG_WAITALL) == b"last words", "the last words got lost")


def multi_path_reset(env, family, able):
    for sender in (0, 1):
        ends = multi_path_pair(env, family, able)
        ping_pong(*ends, 3)
        reset_and_close(ends[sender])
        expect_reset(ends[1 - sender], drain=False)
    fails(env, (SERVICE[family], 9), family, "dial-failed", ("Connection refused",))


def same_bytes_open(env, client, server, size=8 * MIB):
    """As same_bytes(), and the connection stays open."""
    up, down = Stream(3, size), Stream(4, size)
    env.together((send, client, up, whole_blocks, False), (receive, server, up, False),
                 (send, server, down, whole_blocks, False), (receive, client, down, False))


# Somewhere else ---------------------------------------------------------------------------------------

CHAIN = Config("copy", outbounds=[{"type": "direct", "tag": "direct", "detour": "middle"},
                                  {"type": "direct", "tag": "middle", "detour": "last"},
                                  {"type": "direct", "tag": "last", "bind_interface": "wan1"}])


def detour(env, family):
    env.need_daemon()
    client, server = env.pair(family)
    check(source_of(server) == WAN1[family], f"the server sees {source_of(server)}")
    same_bytes(env, client, server, MIB)


def detour_by_name(env, family):
    """The first of the chain knows where to, the last how; questions go the same way."""
    dns, client, server = by_name(env, family)
    check(source_of(server) == WAN1[family], f"the server sees {source_of(server)}")
    check(dns.sources() == {WAN1[family]}, f"the name server saw {dns.questions}")
    same_bytes(env, client, server, MIB)


def override(env, family, listening, port=0):
    """The client asks for a place where nobody is, and gets to @listening."""
    env.need_daemon()
    listener = env.socket("server", listening)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((SERVICE[listening], port))
    listener.listen()
    there = (SERVICE[family] if port else ELSEWHERE[family], 9 if port else listener.getsockname()[1])
    client = env.connect(there, family)
    server = env.accept(listener)
    check(client.getpeername()[0] == there[0] and source_of(server) == WAN0[listening], f"the server sees {server}")
    same_bytes(env, client, server, MIB)


# Names ------------------------------------------------------------------------------------------------

def resolver(strategy="prefer_ipv4", **members):
    return named(kind=OneWorker, to_name={"domain_resolver": {"server": "dns", "strategy": strategy}} | members)


def call(env, port):
    """A client of IPv4; where NAME leads to is not its choice."""
    client = env.connect((ELSEWHERE["v4"], port))
    client.sendall(b"hello")
    return client


def services(env):
    """Listeners on one port of both families."""
    listener = env.listen("v6")
    other = env.socket("server", "v4")
    other.bind((SERVICE["v4"], listener.getsockname()[1]))
    other.listen()
    return {"v4": other, "v6": listener}


def strategy(env, types, family):
    """Only the questions that matter are asked, at once; the preferred family is taken."""
    env.need_ctl()
    dns, listeners = Names(env, "v4", SERVICE.values(), delay=0.2), services(env)
    client = call(env, listeners[family].getsockname()[1])
    server = env.accept(listeners[family])
    check(server.recv(5, socket.MSG_WAITALL) == b"hello", "got something else")
    check(dns.types() == types, f"asked for {dns.types()}")
    check(dns.questions[-1].time - dns.questions[0].time < 0.1, "one question after the other")
    attempts = env.daemon.flow_of(client)["attempts"]
    check(sorted(attempt["step"] for attempt in attempts) == types + ["connect"], f"the trace has {attempts}")
    check(connects(env, client)[0]["result"] == "connected", f"the trace has {attempts}")


def cache(env, ttl, asks):
    """Asked once, and again when the answer is too old."""
    forget(env)
    dns, listeners = Names(env, "v4", [SERVICE["v4"]], ttl=ttl), services(env)
    for number in range(4):
        if number == 3:
            time.sleep(1.2)
        client = call(env, listeners["v4"].getsockname()[1])
        env.accept(listeners["v4"])
        client.close()
    check(dns.types().count("A") == asks, f"asked for {dns.types()}")


def by_tcp(env, family):
    dns, _, _ = by_name(env, family)
    check({question.transport for question in dns.questions} == {"tcp"}, f"the name server saw {dns.questions}")
    check(dns.sources() == {WAN1[family]}, f"the name server saw {dns.questions}")


def second_server(env):
    """Of two servers the one that domain_resolver names."""
    env.need_daemon()
    first, second = (Names(env, family, [SERVICE["v4"]]) for family in ("v4", "v6"))
    listeners = services(env)
    call(env, listeners["v4"].getsockname()[1])
    env.accept(listeners["v4"])
    check(second.questions and not first.questions, f"the first saw {first.questions}, the second {second.questions}")


def no_name(env):
    forget(env)
    Names(env, "v4", [SERVICE["v4"]], "other.test")
    fails(env, (SERVICE["v4"], 9), "v4", "dial-failed", ("NXDOMAIN",), between=(0, 1))


def no_address(env):
    """The name is there, but it has no address."""
    forget(env)
    Names(env, "v4", [])
    fails(env, (SERVICE["v4"], 9), "v4", "dial-failed", ("no such record",), between=(0, 1))


def silent_server(env):
    env.need_daemon()
    dns = Names(env, "v4", [], silent=True)
    fails(env, (SERVICE["v4"], 9), "v4", "dial-timeout", between=(0.8, 1.2))
    check(dns.questions, "no question")


def client_gone(env):
    """Who gives up while the name is looked up leaves nothing behind."""
    forget(env)
    dns = Names(env, "v4", [], silent=True)
    client = env.connect((SERVICE["v4"], 9))
    wait_for(lambda: dns.questions, "no question")
    client.close()
    env.daemon.wait_idle(0.5)


# What cannot be ---------------------------------------------------------------------------------------

def refused(env, family, words):
    """With the reason in the log."""
    fails(env, env.listen(family).getsockname(), family, "dial-failed", words, between=(0, 1))


def mistake(env, wrong, words):
    """Refused before anything runs."""
    if SEAMD == "none":
        raise Skip("no daemon")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(wrong.text(env.daemon.socket))
        file.flush()
        done = subprocess.run([SEAMD, "check", "-c", file.name], capture_output=True, text=True)
    check(done.returncode == 78, f"exit status {done.returncode}")
    check(all(word in done.stderr for word in words), done.stderr)


def cases_of_sockets(suite, family):
    bind = {"inet4_bind_address": WAN1["v4"], "inet6_bind_address": WAN1["v6"]}
    wan1 = named(family, bind_interface="wan1")
    suite.add(f"options/routing-mark/{family}", routing_mark, named(family, routing_mark=MARK), family=family)
    plain = named(family, to_name={"routing_mark": MARK})
    plain = dataclasses.replace(plain, dns={"servers": [{"type": "udp", "server": SERVICE[family]}]})
    suite.add(f"options/routing-mark/{family}/questions", mark_of_questions, plain, family=family)
    suite.add(f"options/bind-interface/{family}", leaves, wan1, family=family, source=WAN1[family], interface="wan1")
    suite.add(f"options/bind-address/{family}", leaves, named(family, **bind), family=family, source=WAN1[family],
              interface="wan0")
    for shared, ports in ((True, {"v4": (40000, 40001), "v6": (40002, 40003)}),
                          (False, {"v4": (40004, 40005), "v6": (40006, 40007)})):
        suite.add(f"options/bind-address-no-port/{family}/{shared}", ports_shared,
                  direct(bind_address_no_port=shared, **bind), family=family, ports=ports[family], shared=shared)
        suite.add(f"options/reuse-addr/{family}/{shared}", reuse_addr,
                  named(family, to_name={"dial_timeout": "3s"}, reuse_addr=shared), family=family, works=shared)
    for mode in ("address", "address_port"):
        suite.add(f"options/transparent-source/{family}/{mode}", transparent,
                  named(family, transparent_source=mode), family=family, port=mode == "address_port")
    suite.add(f"options/transparent-source/{family}/other", transparent_other_family,
              direct(transparent_source="address", override_address=SERVICE[OTHER[family]]), family=family)


def cases_of_connections(suite, family, path):
    suite.add(f"options/protect/{family}", protect, direct(protect_path=path, dial_timeout="1s"), family=family,
              path=path)
    suite.add(f"options/protect-fails/{family}", protect_fails, direct(protect_path=path, dial_timeout="1s"),
              family=family, path=path)
    suite.add(f"options/auto-detect-interface/{family}", auto_detect,
              Config("copy", route={"auto_detect_interface": True}), family=family)
    for func in (fast_open_data, fast_open_silent, fast_open_refused, fast_open_gone, fast_open_much,
                 fast_open_dropped):
        suite.add(f"options/{func.__name__.replace('_', '-')}/{family}", func,
                  Config("auto", enter_after=0, outbound={"tcp_fast_open": True}), family=family)
    for timeout in ("connect_timeout", "dial_timeout"):
        suite.add(f"options/fast-open-black-hole/{family}/{timeout}", fast_open_black_hole,
                  direct(tcp_fast_open=True, **{timeout: "1s"}), family=family)
    for able in (True, False):
        for func in (multi_path, multi_path_reset):
            suite.add(f"options/{func.__name__.replace('_', '-')}/{family}/{'mptcp' if able else 'tcp'}", func,
                      MULTI_PATH, family=family, able=able)
    suite.add(f"options/detour/{family}", detour, CHAIN, family=family)
    dns = {"servers": [{"type": "udp", "server": SERVICE[family], "detour": "direct"}]}
    outbounds = [CHAIN.outbounds[0] | {"override_address": NAME}, *CHAIN.outbounds[1:]]
    suite.add(f"options/detour/{family}/by-name", detour_by_name,
              dataclasses.replace(CHAIN, outbounds=outbounds, dns=dns), family=family)
    for other in ("v4", "v6"):
        suite.add(f"options/override-address/{family}-{other}", override, direct(override_address=SERVICE[other]),
                  family=family, listening=other)
    suite.add(f"options/override-port/{family}", override, direct(override_port=7001), family=family, listening=family,
              port=7001)
    suite.add(f"options/dns-tcp/{family}", by_tcp, named(family, "tcp", bind_interface="wan1"), family=family)


def cases_of_names(suite):
    for name, types, family in (("ipv4_only", ["A"], "v4"), ("ipv6_only", ["AAAA"], "v6"),
                                ("prefer_ipv4", ["A", "AAAA"], "v4"), ("prefer_ipv6", ["A", "AAAA"], "v6")):
        suite.add(f"options/names/{name}", strategy, resolver(name), types=types, family=family)
    plain, short = resolver(), resolver(dial_timeout="1s")
    suite.add("options/names/cached", cache, plain, ttl=300, asks=1)
    suite.add("options/names/outdated", cache, plain, ttl=1, asks=2)
    servers = [plain.dns["servers"][0] | {"tag": f"of-{family}", "server": SERVICE[family]} for family in ("v4", "v6")]
    outbounds = [plain.outbounds[0] | {"domain_resolver": "of-v6"}, *plain.outbounds[1:]]
    suite.add("options/names/second-server", second_server,
              dataclasses.replace(plain, outbounds=outbounds, dns={"servers": servers, "final": "of-v4"}))
    suite.add("options/names/none", no_name, plain)
    suite.add("options/names/no-address", no_address, plain)
    suite.add("options/names/silent-server", silent_server, short)
    suite.add("options/names/client-gone", client_gone, short)


def cases_of_mistakes(suite):
    nowhere = direct(inet4_bind_address="10.99.99.99", inet6_bind_address="fd99::99")
    for family in ("v4", "v6"):
        suite.add(f"options/no-such-interface/{family}", refused, direct(bind_interface="nosuch0"), family=family,
                  words=("nosuch0", "SO_BINDTODEVICE", "No such device"))
        suite.add(f"options/no-such-address/{family}", refused, nowhere, family=family,
                  words=("bind", "Cannot assign requested address"))
    back = dataclasses.replace(CHAIN, outbounds=[CHAIN.outbounds[0], CHAIN.outbounds[1] | {"detour": "direct"}])
    lost = named()
    lost = dataclasses.replace(lost, dns={"servers": [lost.dns["servers"][0] | {"detour": "wax"}]})
    suite.add("options/mistake/detour", mistake, nowhere, wrong=back, words=("/outbounds/0/detour", "middle"))
    suite.add("options/mistake/dns", mistake, nowhere, wrong=lost, words=("/dns/servers/0/detour", "way"))


def main():
    suite = Suite()
    with tempfile.TemporaryDirectory(prefix="seamtest-") as folder:
        for family in ("v4", "v6"):
            cases_of_sockets(suite, family)
            cases_of_connections(suite, family, f"{folder}/protect.sock")
        for by in ("name", "path"):
            suite.add(f"options/netns/{by}", netns, by=by)
        for allowed in (True, False):
            suite.add(f"options/udp-fragment/{allowed}", udp_fragment, named(name=LONG_NAME, udp_fragment=allowed),
                      allowed=allowed)
        suite.add("options/connect-timeout", black_hole, direct(connect_timeout="1s"))
        suite.add("options/dial-timeout", black_hole, direct(dial_timeout="1s"))
        suite.add("options/dial-timeout/names", many_black_holes, named(to_name={"dial_timeout": "1s"}))
        often = {"tcp_keep_alive": "1s", "tcp_keep_alive_interval": "1s", "tcp_keep_alive_count": 2}
        suite.add("options/keep-alive/on", keep_alive, direct(**often), on=True)
        suite.add("options/keep-alive/off", keep_alive, direct(disable_tcp_keep_alive=True), on=False)
        cases_of_names(suite)
        cases_of_mistakes(suite)
        return suite.run()


if __name__ == "__main__":
    sys.exit(main())
