"""A name server of a test: UDP and TCP, answers from a dict, and remembers what it was asked and when.

    with lab.inside("server"):
        server = DnsServer("10.77.2.2")
    server.zone["both.test"] = {"A": ["10.77.9.9"], "AAAA": ["fd77:9::9"], "delay": {"AAAA": 0.2}}

The sockets belong to the namespace in which it was made. Of a name there may be, each for all types or {type: value}:
rcode ("SERVFAIL"), delay (seconds), silent (no answer at all), truncate (over UDP: TC and no records), ttl; and soa,
the seconds for which a negative answer holds, None: no SOA. Names that are not there are NXDOMAIN.
"""
import dataclasses
import heapq
import itertools
import selectors
import socket
import struct
import threading
import time

TYPES = {1: "A", 16: "TXT", 28: "AAAA"}
RCODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}
SOA, CLASS_IN = 6, 1
UDP_SIZE = 512  # without EDNS, which is not spoken here
RESPONSE, TRUNCATED, RECURSION_DESIRED, RECURSION_AVAILABLE = 0x8000, 0x0200, 0x0100, 0x0080
POINTER_TO_QUESTION = b"\xc0\x0c"


@dataclasses.dataclass(frozen=True)
class Question:
    name: str  # in lower case, without the last dot
    type: str  # "A", or a number as text
    transport: str  # "udp", "tcp"
    time: float  # monotonic
    sender: tuple


def read_question(packet):
    """(name, type, end of the question), or None for what is not one question."""
    if len(packet) < 12 or struct.unpack_from("!H", packet, 4)[0] != 1 or packet[2] & 0x80:
        return None
    labels, at = [], 12
    while at < len(packet) and packet[at]:
        if packet[at] > 63:
            return None
        labels.append(packet[at + 1:at + 1 + packet[at]])
        at += 1 + packet[at]
    if at + 5 > len(packet):
        return None
    number = struct.unpack_from("!H", packet, at + 1)[0]
    return b".".join(labels).decode("latin-1").lower(), TYPES.get(number, str(number)), at + 5


def record(owner, number, ttl, data):
    return owner + struct.pack("!HHIH", number, CLASS_IN, ttl, len(data)) + data


def soa_record(seconds):
    """Of the root, which is above every name; the last number is what negative answers live by."""
    return record(b"\0", SOA, seconds, b"\0\0" + struct.pack("!IIIII", 1, 3600, 600, 86400, seconds))


class DnsServer:
    """Runs in a thread of its own until close()."""

    def __init__(self, *addresses, port=53, zone=None):
        self.zone, self.soa = zone if zone is not None else {}, 60
        self.questions, self.lock = [], threading.Lock()
        self.later, self.numbers = [], itertools.count()  # heap of (time, number, send, packet)
        self.selector, self.running = selectors.DefaultSelector(), True
        self.wake, wake = socket.socketpair()
        self.selector.register(wake, selectors.EVENT_READ, lambda sock: sock.recv(100))
        for address in addresses:
            self.port = port = self.listen(address, port)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def listen(self, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        udp, tcp = (socket.socket(family, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
        udp.bind((address, port))
        port = udp.getsockname()[1]
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((address, port))
        tcp.listen()
        for sock, func in ((udp, self.on_udp), (tcp, self.on_connection)):
            sock.setblocking(False)
            self.selector.register(sock, selectors.EVENT_READ, func)
        return port

    # What tests ask

    def asked(self, name, kind=None):
        """The questions for @name so far, of type @kind or of any."""
        with self.lock:
            return [question for question in self.questions
                    if question.name == name and kind in (None, question.type)]

    def clear(self):
        with self.lock:
            self.questions.clear()

    def close(self):
        self.running = False
        self.wake.send(b"x")
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()
        self.wake.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # The thread

    def run(self):
        while self.running:
            timeout = max(0, self.later[0][0] - time.monotonic()) if self.later else None
            for key, _ in self.selector.select(timeout):
                key.data(key.fileobj)
            while self.later and self.later[0][0] <= time.monotonic():
                _, _, send, packet = heapq.heappop(self.later)
                try:
                    send(packet)
                except OSError:
                    pass  # who asked is gone

    def on_udp(self, sock):
        packet, sender = sock.recvfrom(4096)
        self.on_packet(packet, "udp", sender, lambda answer: sock.sendto(answer, sender))

    def on_connection(self, listener):
        conn, _ = listener.accept()
        self.selector.register(conn, selectors.EVENT_READ, self.tcp_reader())

    def tcp_reader(self):
        """Packets behind their lengths, however they are cut."""
        received = bytearray()

        def on_tcp(conn):
            try:
                data = conn.recv(4096)
            except OSError:
                data = b""
            if not data:
                self.selector.unregister(conn)
                conn.close()
                return
            received.extend(data)
            while len(received) >= 2 and len(received) >= 2 + (size := int.from_bytes(received[:2], "big")):
                packet = bytes(received[2:2 + size])
                del received[:2 + size]
                self.on_packet(packet, "tcp", conn.getpeername(),
                               lambda answer: conn.sendall(struct.pack("!H", len(answer)) + answer))
        return on_tcp

    def on_packet(self, packet, transport, sender, send):
        found, now = read_question(packet), time.monotonic()
        if not found:
            return
        name, kind, end = found
        with self.lock:
            self.questions.append(Question(name, kind, transport, now, sender))
        entry = self.zone.get(name)

        def setting(key, default):
            value = (entry or {}).get(key, default)
            return value.get(kind, default) if isinstance(value, dict) else value

        if setting("silent", False):
            return
        answer = self.answer(packet[:end], entry, kind, setting)
        if transport == "udp" and (setting("truncate", False) or len(answer) > UDP_SIZE):
            flags = struct.unpack_from("!H", answer, 2)[0] | TRUNCATED
            answer = answer[:2] + struct.pack("!HHHHH", flags, 1, 0, 0, 0) + packet[12:end]
        heapq.heappush(self.later, (now + setting("delay", 0), next(self.numbers), send, answer))

    @staticmethod
    def data(kind, text):
        if kind == "TXT":
            return bytes([len(text)]) + text.encode()
        return socket.inet_pton(socket.AF_INET6 if kind == "AAAA" else socket.AF_INET, text)

    def answer(self, question, entry, kind, setting):
        addresses = (entry or {}).get(kind, []) if kind in TYPES.values() else []
        rcode = setting("rcode", "NXDOMAIN" if entry is None else "NOERROR")
        number = next((number for number, name in TYPES.items() if name == kind), 0)
        records, authority = [], []
        if rcode == "NOERROR":
            records = [record(POINTER_TO_QUESTION, number, setting("ttl", 60), self.data(kind, text))
                       for text in addresses]
        soa = (entry or {}).get("soa", self.soa)
        if not records and rcode in ("NOERROR", "NXDOMAIN") and soa is not None:
            authority = [soa_record(soa)]
        flags = (RESPONSE | RECURSION_AVAILABLE | RCODES[rcode] |
                 struct.unpack_from("!H", question, 2)[0] & RECURSION_DESIRED)
        return (question[:2] + struct.pack("!HHHHH", flags, 1, len(records), len(authority), 0) + question[12:] +
                b"".join(records) + b"".join(authority))
