#!/usr/bin/python3
"""UDP: names both ways, rules and sniffing, refusals, hijacked DNS questions. Outbounds differ by their source address,
so that the server sees what was decided."""
import select
import socket
import struct
import sys
import time

from datagrams import (ELSEWHERE, THIRD, UdpConfig, address_of, client_of, datagram, exchange, restart, server_of,
                       session_of, sessions_of, silent, take, udp_ended)
from dnsserver import DnsServer
from lab import SERVICE
from quic import initials
from seamtest import FAMILIES, Suite
from test_routing import SOURCES, ways
from verdict import Failure, check, wait_for

RULES = {
    "hijack": {"port": 53, "action": "hijack-dns"},
    "refuse": {"port": 7602, "action": "reject"},
    "drop": {"port": 7603, "action": "reject", "method": "drop"},
    "blocked": {"port": 7604, "outbound": "nothing"},
    "tcp": {"network": "tcp", "outbound": "one"},
    "port": {"port": 7605, "network": "udp", "outbound": "one"},
    "override-port": {"port": 7606, "outbound": "two", "override_port": 7607},
    "unmapped": {"port_range": "7610:7612", "action": "route-options", "udp_disable_domain_unmapping": True},
    "name": {"port": [7609, 7610], "outbound": "one", "override_address": "both.test"},
    "address": {"port": [7608, 7611], "outbound": "one", "override_address": SERVICE["v4"]},
    "quick": {"port": [7640, 7642, 7643], "action": "sniff"},
    "hijack-late": {"port": 7642, "action": "hijack-dns"},
    "refuse-late": {"port": 7643, "action": "reject"},
    "sniff": {"port_range": "7620:7639", "action": "sniff", "override_destination": True},
    "resolve": {"port": 7621, "action": "resolve"},
    "resolved": {"port": 7621, "ip_cidr": ["10.77.9.0/24", "fd77:9::/64"], "outbound": "two"},
    "domain": {"domain": "exact.test", "outbound": "two"},
    "quic": {"protocol": "quic", "outbound": "one"},
    "stun": {"protocol": ["stun", "ntp"], "outbound": "two"},
}
DNS = {"servers": [{"type": "udp", "tag": "dns", "server": SERVICE["v4"], "server_port": 5353, "detour": "rest"}]}
ZONE = {"both.test": {"A": [SERVICE["v4"]], "AAAA": [SERVICE["v6"]]},
        "exact.test": {"A": [SERVICE["v4"]], "AAAA": [SERVICE["v6"]]},
        "long.test": {"A": [f"10.1.{i // 100}.{i % 100}" for i in range(150)]}, "none.test": {}}
STUN = struct.pack("!HHI", 1, 0, 0x2112A442) + b"transaction1"
NTP = bytes([0x23]) + bytes(39) + b"\xe9\0\0\0\0\0\0\1"


def routed():
    config = ways(RULES, UdpConfig, dns=DNS)
    config.outbounds.append({"type": "block", "tag": "nothing"})
    return config


def name_server(env):
    """On a port of its own: 53 is hijacked, and asked there by clients only."""
    with env.lab.inside("server"):
        server = DnsServer(SERVICE["v4"], port=5353, zone=dict(ZONE))
    server.shutdown = lambda _: None
    env.open.append(server)
    return server


def way(env, client, peer, outbound, rule=None, **facts):
    """The server's view, and the session's."""
    family = "v6" if ":" in peer[0] else "v4"
    check(peer[0] == SOURCES[outbound][family], f"the server sees {peer[:2]}, not {outbound}")
    session = session_of(env, client)
    for key, value in ({"outbound": outbound, "rule": list(RULES).index(rule) if rule else -1} | facts).items():
        check(session[key] == value, f"{key} is {session[key]!r}, not {value!r}")


# Rules ------------------------------------------------------------------------------------------------

def ports(env, family):
    env.need_ctl()
    for port, outbound, rule in ((7605, "one", "port"), (7601, "rest", None)):
        client, server = client_of(env, family), server_of(env, family, port)
        way(env, client, exchange(client, server), outbound, rule)


def override_port(env, family):
    """Answers still come from the port that was written to."""
    env.need_ctl()
    client, server = client_of(env, family), server_of(env, family, 7607)
    peer = exchange(client, server, (SERVICE[family], 7606))
    way(env, client, peer, "two", "override-port")


def each_its_own_way(env, family):
    """The rules are asked for a session's first destination; what else the socket writes to goes by its way."""
    env.need_ctl()
    client, first, second = client_of(env, family), server_of(env, family, 7605), server_of(env, family, 7601)
    peer = exchange(client, first)
    check(exchange(client, second) == peer, "endpoint-dependent mapping")


def refused(env, family, port):
    """ICMP port unreachable in the server's name, each time."""
    env.need_ctl()
    server = server_of(env, family, port)
    client = client_of(env, family)
    client.connect((SERVICE[family], port))
    for _ in range(3):
        client.send(b"hello")
        try:
            data = client.recv(100)
            raise Failure(f"{data!r} in place of a refusal")
        except ConnectionRefusedError:
            pass
        except TimeoutError:
            raise Failure("silence in place of a refusal") from None
    silent(server, 0)
    check(session_of(env, client)["state"] == "block", f"{sessions_of(env, client)}")


def dropped(env, family):
    env.need_daemon()
    server, client = server_of(env, family, 7603), client_of(env, family)
    client.connect((SERVICE[family], 7603))
    for _ in range(3):
        client.send(b"hello")
    silent(client, 0.5)
    silent(server, 0)


# Names ------------------------------------------------------------------------------------------------

def named(env, family, port, rule, to):
    """By a name or an address of the rule: the client sees whom it wrote to, and not whom it got."""
    restart(env)
    dns = name_server(env)
    client, server = client_of(env, family), server_of(env, to, port)
    there = (ELSEWHERE[family], port)
    for _ in range(3):
        way(env, client, exchange(client, server, there), "one", rule)
    check(rule == "address" or len(dns.asked("both.test")) <= 2, f"asked {dns.questions}")


def unmapped(env, family, port, rule):
    """The client sees who answered."""
    restart(env)
    name_server(env)
    to = "v4"
    client, server = client_of(env, family), server_of(env, to, port)
    client.sendto(b"question", (ELSEWHERE[family], port))
    peer = take(server, b"question")
    server.sendto(b"answer", peer)
    if family == to:
        take(client, b"answer", address_of(server))
        way(env, client, peer, "one", rule)
    else:  # it has no such address in its family
        take(client, b"answer", (ELSEWHERE[family], port))


def others_by_name(env, family):
    """With a name as destination, a third host may write, too, in its own name."""
    restart(env)
    name_server(env)
    client, server = client_of(env, family), server_of(env, "v4", 7609)
    peer = exchange(client, server, (ELSEWHERE[family], 7609))
    if family == "v4":
        other = server_of(env, "v4", address=THIRD["v4"])
        other.sendto(b"hello", peer)
        take(client, b"hello", address_of(other))
    exchange(client, server, (ELSEWHERE[family], 7609))


# Sniffing ---------------------------------------------------------------------------------------------

def sniffed(env, family, first, server, to, between=(0, 0.25)):
    """The datagrams @first arrive before all others, in order; returns client and who the server saw."""
    client, started = client_of(env, family), time.monotonic()
    rest = [datagram(number, 500) for number in range(20)]
    for data in (*first, *rest):
        client.sendto(data, to)
    for number, data in enumerate((*first, *rest)):
        peer = take(server, data)
        took = time.monotonic() - started
        check(number or between[0] <= took <= between[1], f"the first one took {took:.2f} s")
    server.sendto(b"answer", peer)
    take(client, b"answer", to)
    return client, peer


def quic(env, family, pieces):
    """By the name in the hello, whatever it takes to read it."""
    restart(env)
    name_server(env)
    server = server_of(env, family, 7640)
    for name, outbound, rule in (("exact.test", "two", "domain"), ("other.test", "one", "quic")):
        client, peer = sniffed(env, family, initials(name, pieces), server, address_of(server))
        way(env, client, peer, outbound, rule, protocol="quic", domain=name)


def quic_to_name(env, family):
    """override_destination: to the addresses of the name, and answers from the one written to."""
    restart(env)
    name_server(env)
    server = server_of(env, "v4", 7620)
    client, peer = sniffed(env, family, initials("exact.test"), server, (ELSEWHERE[family], 7620))
    way(env, client, peer, "two", "domain", protocol="quic", domain="exact.test")


def unfinished(env, family):
    """Half a hello is waited for; then it goes like anything."""
    restart(env)
    server = server_of(env, family, 7640)
    half = initials("exact.test", 2)[:1]
    client, started = client_of(env, family), time.monotonic()
    client.sendto(half[0], address_of(server))
    peer = take(server, half[0])
    took = time.monotonic() - started
    check(0.2 <= took <= 0.5, f"it took {took:.2f} s")
    exchange(client, server)
    check(peer[0] in (SOURCES["one"][family], SOURCES["rest"][family]), f"the server sees {peer}")


def small_protocols(env, family):
    restart(env)
    server = server_of(env, family, 7640)
    for data, protocol in ((STUN, "stun"), (NTP, "ntp")):
        client, peer = sniffed(env, family, [data], server, address_of(server))
        way(env, client, peer, "two", "stun", protocol=protocol)


def garbage(env, family):
    """Nothing that is known, and no wait for it."""
    restart(env)
    server = server_of(env, family, 7640)
    for first in ([b""], [b"\xc1"], [b"\xff" * 1200], [datagram(9, 9000)]):
        client, peer = sniffed(env, family, first, server, address_of(server), (0, 0.5))
        way(env, client, peer, "rest", protocol="", domain="")


def resolved(env, family):
    """What the name resolves to decides, and is where it goes."""
    restart(env)
    name_server(env)
    server = server_of(env, "v4", 7621)
    client, peer = sniffed(env, family, initials("both.test"), server, (ELSEWHERE[family], 7621))
    way(env, client, peer, "two", "resolved")


def unresolved(env, family):
    """A name that is not there: nothing arrives, nothing stays."""
    restart(env)
    name_server(env)
    before, server = udp_ended(env, "unresolved"), server_of(env, family, 7621)
    client = client_of(env, family)
    client.sendto(initials("none.test")[0], (ELSEWHERE[family], 7621))
    wait_for(lambda: udp_ended(env, "unresolved") > before, "no session ended with unresolved")
    silent(server, 0)


def held_for_others(env, family, port, first):
    """What the socket wrote elsewhere, while its first destination was thought about, has a session of its own when
    nothing goes to that."""
    restart(env)
    name_server(env).zone |= {"slow.test": {"delay": 0.2}}
    before, server, client = udp_ended(env, "unresolved"), server_of(env, family, 7601), client_of(env, family)
    client.sendto(first, (SERVICE[family], port))
    for number in range(3):
        client.sendto(datagram(number, 100), address_of(server))
    for number in range(3):
        peer = take(server, datagram(number, 100))
    server.sendto(b"answer", peer)
    while client.recvfrom(1 << 16)[1][:2] != address_of(server):  # the hijacked one has an answer, too
        pass
    other = next(session for session in sessions_of(env, client) if session["destination"].endswith(":7601"))
    check(other["outbound"] == "rest" and other["up"]["datagrams"] == 3, f"{other}")
    check(port != 7621 or udp_ended(env, "unresolved") == before + 1, "the first was resolved")


# hijack-dns -------------------------------------------------------------------------------------------

def question(name, number=7, kind=1, size=0):
    """@size: of EDNS, 0: none."""
    data = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, bool(size))
    data += b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    return data + struct.pack("!HH", kind, 1) + (b"\0" + struct.pack("!HHIH", 41, size, 0, 0) if size else b"")


def ask(client, to, *words, **more):
    client.sendto(question(*words, **more), to)
    data, source = client.recvfrom(1 << 16)
    check(source[:2] == to[:2], f"the answer is from {source[:2]}")
    number, flags, _, count = struct.unpack_from("!HHHH", data)
    check(number == more.get("number", 7) and flags & 0x8000, "not the answer")
    return data, flags, count


def hijack(env, family):
    """Whomever it was asked, and from one socket several at once."""
    restart(env)
    dns, client = name_server(env), client_of(env, family)
    for to in (SERVICE[family], {"v4": "192.0.2.53", "v6": "2001:db8::53"}[family]):
        data, flags, count = ask(client, (to, 53), "both.test")
        check(count == 1 and data.endswith(socket.inet_aton(SERVICE["v4"])) and not flags & 15, f"{data!r}")
    check(ask(client, (SERVICE[family], 53), "nobody.test")[1] & 15 == 3, "not NXDOMAIN")
    dns.zone |= {f"n{number}.test": {"A": [f"10.2.0.{number}"], "delay": number % 3 / 10} for number in range(40)}
    for number in range(40):
        client.sendto(question(f"n{number}.test", number), (SERVICE[family], 53))
    got = set()
    for _ in range(40):
        data = client.recv(4096)
        number = struct.unpack_from("!H", data)[0]
        check(data.endswith(socket.inet_aton(f"10.2.0.{number}")), f"{number}: {data!r}")
        got.add(number)
    check(got == set(range(40)), "not each once")


def hijack_truncates(env, family):
    """No longer than the client takes: TC, and it asks over TCP."""
    restart(env)
    name_server(env)
    client, to = client_of(env, family), (SERVICE[family], 53)
    for size, limit in ((0, 512), (600, 600), (1232, 1232)):
        data, flags, _ = ask(client, to, "long.test", size=size)
        check(flags & 0x0200 and len(data) <= limit, f"EDNS {size}: {len(data)} bytes, flags {flags:#x}")
    data, flags, count = ask(client, to, "long.test", size=4096)
    check(not flags & 0x0200 and count == 150, f"EDNS 4096: {len(data)} bytes, flags {flags:#x}, {count} records")


def hijack_garbage(env, family):
    """What is no question has no answer, and the next one has."""
    restart(env)
    name_server(env)
    client, to = client_of(env, family), (SERVICE[family], 53)
    whole = question("both.test")
    for data in (b"", b"x", b"\0" * 12, whole[:20], datagram(1, 9000), whole[:2] + b"\x80" + whole[3:]):
        client.sendto(data, to)
    end = time.monotonic() + 0.5
    while select.select([client], [], [], max(0, end - time.monotonic()))[0]:
        answer = client.recv(1 << 16)
        check(len(answer) >= 12 and answer[3] & 15 in (1, 4), f"answered with {answer[:20]!r}")
    check(ask(client, to, "both.test", number=77)[2] == 1, "no answer after garbage")


def cases_of_rules(suite, family):
    config = routed()
    for func in (ports, override_port, each_its_own_way, dropped, quic_to_name, unfinished, small_protocols, garbage,
                 resolved, unresolved, others_by_name, hijack, hijack_truncates, hijack_garbage):
        suite.add(f"udp-routing/{func.__name__.replace('_', '-')}/{family}", func, config, family=family)
    for port, rule in ((7602, "refuse"), (7604, "blocked")):
        suite.add(f"udp-routing/{rule}/{family}", refused, config, family=family, port=port)
    half = initials("exact.test", 2)[0]
    for name, port, first in (("hijacked", 7642, half), ("refused", 7643, half),
                              ("unresolved", 7621, initials("slow.test")[0])):
        suite.add(f"udp-routing/held-for-others/{name}/{family}", held_for_others, config, family=family, port=port,
                  first=first)
    for pieces in (1, 3):
        suite.add(f"udp-routing/quic/{pieces}/{family}", quic, config, family=family, pieces=pieces)
    suite.add(f"udp-routing/named/{family}", named, config, family=family, port=7609, rule="name", to="v4")
    suite.add(f"udp-routing/other-address/{family}", named, config, family=family, port=7608, rule="address", to="v4")
    suite.add(f"udp-routing/unmapped/name/{family}", unmapped, config, family=family, port=7610, rule="name")
    suite.add(f"udp-routing/unmapped/address/{family}", unmapped, config, family=family, port=7611, rule="address")


def main():
    suite = Suite()
    for family in FAMILIES:
        cases_of_rules(suite, family)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
