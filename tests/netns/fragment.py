"""For the tests of tls_fragment: hellos, a capture that knows when a packet passed and what left in one go, and a
configuration whose rules treat a flow by its port (PORTS), so that one daemon serves all cases."""
import dataclasses
import os
import socket
import struct

from daemon import Config
from lab import SERVICE
from test_outbounds import KINDS
from verdict import check
from wire import Capture, Packet

NAME, SECRET = "www.example.com", b"example"  # SECRET: the label that must not be seen whole
DELAY, DEFAULT_DELAY, SLACK = 0.05, 0.5, 0.3
MODES = ("packets", "records", "both")
TYPE_HANDSHAKE, TYPE_APPLICATION = 22, 23
SO_TIMESTAMPNS = 35

# Configuration ----------------------------------------------------------------------------------------

PACKETS, RECORDS = {"tls_fragment": True}, {"tls_record_fragment": True}
SHORT = {"tls_fragment_fallback_delay": f"{DELAY * 1000:g}ms"}
BOTH = PACKETS | RECORDS | SHORT
V4 = {"ip_cidr": ["0.0.0.0/0"]}
PORTS = {"packets": 21000, "records": 22000, "both": 23000, "default": 24000, "sniff": 25000, "fast": 26000,
         "socks": 27000, "vless": 28000, "options": 29000, "impatient": 30000}


def rules():
    """A range of ports for each way."""
    def ports(way):
        return {"port_range": [f"{PORTS[way]}:{PORTS[way] + 999}"]}

    def rule(way, outbound, options, **more):
        return ports(way) | {"outbound": outbound} | options | more

    yield rule("packets", "direct", PACKETS | SHORT)
    yield rule("records", "direct", RECORDS | SHORT)
    yield rule("both", "direct", BOTH)
    yield rule("default", "direct", PACKETS)
    yield ports("sniff") | {"action": "sniff"}
    yield rule("sniff", "direct", BOTH, domain_suffix=["example.com"])
    yield rule("fast", "fast", BOTH)
    yield rule("impatient", "impatient", PACKETS)
    yield ports("options") | {"action": "route-options"} | BOTH
    for kind in ("socks", "vless"):
        yield rule(kind, f"{kind}-v4", BOTH, **V4)
        yield rule(kind, f"{kind}-v6", BOTH)


def config(method="auto", **more):
    outbounds = [{"type": "direct", "tag": "direct"}, {"type": "direct", "tag": "fast", "tcp_fast_open": True},
                 {"type": "direct", "tag": "impatient", "dial_timeout": "1s"}]
    for family in ("v4", "v6"):
        outbounds.append(KINDS["socks5"].outbound(family) | {"tag": f"socks-{family}"})
        outbounds.append(KINDS["vless"].outbound(family) | {"tag": f"vless-{family}"})
    return Config(method, enter_after=0, outbounds=outbounds, route={"rules": list(rules())}, **more)


def next_port(env, way):
    """No case meets the connections of another."""
    used = env.lab.__dict__.setdefault("fragment_ports", {})
    used[way] = used.get(way, PORTS[way] - 1) + 1
    return used[way]


def listen(env, family, way):
    env.need_daemon()
    listener = env.socket("server", family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((SERVICE[family], next_port(env, way)))
    listener.listen(200)
    return listener


# Hellos -----------------------------------------------------------------------------------------------

def record(content, kind=TYPE_HANDSHAKE):
    return struct.pack("!BHH", kind, 0x301, len(content)) + content


def extension(number, data):
    return struct.pack("!HH", number, len(data)) + data


def hello(name=NAME, before=0, behind=200, records=1):
    """A ClientHello, with so much ballast on either side of the name, in so many records."""
    extensions = extension(0xaaaa, os.urandom(before)) if before else b""
    if name is not None:
        text = name.encode()
        extensions += extension(0, struct.pack("!HBH", len(text) + 3, 0, len(text)) + text)
    extensions += extension(43, b"\2\3\4") + extension(21, bytes(behind))
    body = (b"\3\3" + os.urandom(32) + b"\x20" + os.urandom(32) + struct.pack("!H3H", 6, 0x1301, 0x1302, 0xc02b) +
            b"\1\0" + struct.pack("!H", len(extensions)) + extensions)
    message = b"\1" + len(body).to_bytes(3, "big") + body
    step = -(-len(message) // records)
    return b"".join(record(message[at:at + step]) for at in range(0, len(message), step))


def split_records(data):
    """(type, version, content) each; all of @data."""
    found = []
    while data:
        kind, version, length = struct.unpack_from("!BHH", data)
        check(len(data) >= 5 + length, f"a record of {length} bytes ends early")
        found.append((kind, version, data[5:5 + length]))
        data = data[5 + length:]
    return found


def content(data):
    return b"".join(part for _, _, part in split_records(data))


# The wire ---------------------------------------------------------------------------------------------

@dataclasses.dataclass
class Piece:
    """What left in one go, and whether all before it was acknowledged by then."""
    at: float
    data: bytes
    proven: bool


def stamp_packets():
    """The kernel begins to stamp packets a while after the first socket asked, until then recvmsg() does it late: keep
    what this returns as long as there are Timelines."""
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return asking


class Timeline(Capture):
    """Knows when a packet passed."""

    def __init__(self, env, port):
        super().__init__(env, "wan0", port)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock.settimeout(0)

    def packets(self, outgoing=True):
        while True:
            try:
                data, control, _, address = self.sock.recvmsg(65536, 64)
            except BlockingIOError:
                return [packet for packet in self.seen if packet.outgoing == outgoing]
            packet = Packet.parse(data, address[2] == socket.PACKET_OUTGOING) if address[1] in (0x800, 0x86dd) else None
            if packet and packet.ports[packet.outgoing] == self.port:
                seconds, nanoseconds = struct.unpack("qq", control[0][2])
                packet.at = seconds + nanoseconds / 1e9
                head = (data[0] & 15) * 4 if data[0] >> 4 == 4 else 40
                packet.seq, packet.ack = struct.unpack_from("!II", data, head + 4)
                self.seen.append(packet)

    def pieces(self, near=DELAY / 2):
        """Of the latest connection: segments with no more than @near seconds between them are one piece; what is sent
        again counts once."""
        ours = [packet.ports[0] for packet in self.packets() if packet.payload][-1:]
        found, acked, end, last = [], None, None, 0.0
        for packet in self.seen:
            if packet.ports[not packet.outgoing] not in ours:
                continue
            if not packet.outgoing:
                acked = packet.ack
            elif packet.payload and (end is None or packet.seq == end):
                end = (packet.seq + len(packet.payload)) & 0xffffffff
                if found and packet.at - last < near:
                    found[-1].data += packet.payload
                else:
                    found.append(Piece(packet.at, packet.payload, not found or acked == packet.seq))
                last = packet.at
        return found


def exactly(conn, length):
    data = b""
    while len(data) < length:
        more = conn.recv(length - len(data))
        check(more, f"ended after {len(data)} of {length} bytes: {data[:60]!r}")
        data += more
    return data


def take_hello(conn, sent, mode):
    """The hello at the server's end, whole and right, as it came."""
    if mode == "packets":
        got = exactly(conn, len(sent))
        check(got == sent, "the hello was changed")
        return got
    got, want = b"", content(sent)
    while len(content(got)) < len(want):
        head = exactly(conn, 5)
        got += head + exactly(conn, int.from_bytes(head[3:], "big"))
    parts = split_records(got)
    check(content(got) == want, "the hello was changed")
    check({part[:2] for part in parts} == {part[:2] for part in split_records(sent)}, "another type or version")
    check(all(part[2] for part in parts), "an empty record")
    return got


def judge(timeline, got, mode, count, delay=DELAY, secret=SECRET):
    """@got left in @count pieces, none with the secret, at the right time."""
    found = timeline.pieces()
    check(b"".join(piece.data for piece in found).startswith(got), "the wire had something else")
    if mode == "records":
        check(len(found) == 1, f"{len(found)} writes, not one")
    else:
        sizes = [len(piece.data) for piece in found]
        check(len(found) == count, f"not {count} pieces but {sizes} bytes")
        check(not any(secret in piece.data for piece in found), "a piece has the name")
        check(all(piece.proven for piece in found), "a piece left before the one before it was acknowledged")
        gaps = [after.at - piece.at for piece, after in zip(found, found[1:])]
        check(all(delay - 0.003 < gap < delay + SLACK for gap in gaps), f"gaps of {gaps} seconds")
    if mode != "packets":
        parts = split_records(got)
        check(len(parts) >= count, f"{len(parts)} records, not {count}")
        check(not any(secret in part for _, _, part in parts), "a record has the name")
    if mode == "both":
        check(all(split_records(piece.data) for piece in found), "a piece ends inside a record")


def flow(env, family, way):
    """Both ends, and what passes between."""
    listener = listen(env, family, way)
    timeline = Timeline(env, listener.getsockname()[1])
    client = env.connect(listener.getsockname(), family)
    return client, env.accept(listener), timeline
