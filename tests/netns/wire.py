"""What a case sees of an outbound from outside: packets on an interface, packets counted by nft, a name server's
questions, and how flows end. For the tests of dialer options: there `direct` carries the flows and `way` the
questions, with the same options, so that one case judges TCP and UDP."""
import contextlib
import dataclasses
import re
import select
import socket
import struct
import time

from daemon import Config
from dnsserver import DnsServer
from lab import SERVICE
from streams import MIB, Stream, expect_reset, ping_pong, receive, send
from verdict import check, wait_for

NAME = "service.test"
WAN0 = {"v4": "10.77.2.1", "v6": "fd77:2::1"}
WAN1 = {"v4": "10.77.3.1", "v6": "fd77:3::1"}
SYN, ACK = 2, 16


def direct(kind=Config, **option):
    return kind("copy", outbound=option)


def named(family="v4", server="udp", kind=Config, to_name=None, name=NAME, **option):
    """Flows go to @name, and have to ask for it by an outbound with the same options."""
    dns = {"type": server, "tag": "dns", "server": SERVICE[family], "detour": "way"}
    to = {"type": "direct", "tag": "direct", "override_address": name} | option | (to_name or {})
    return kind("copy", outbounds=[to, {"type": "direct", "tag": "way"} | option], dns={"servers": [dns]})


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


def connects(env, client):
    return [attempt for attempt in env.daemon.flow_of(client)["attempts"] if attempt["step"] == "connect"]


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
