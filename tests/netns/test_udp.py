#!/usr/bin/python3
"""UDP: every datagram arrives whole and in order, who may answer whom, whose address the answers have, what ends a
session, and what the router's own services notice of it: nothing."""
import contextlib
import dataclasses
import json
import random
import signal
import socket
import struct
import subprocess
import sys
import time

from daemon import NO_PACKET, SEAMCTL
from datagrams import (ANY, CONNECTED, ELSEWHERE, THIRD, UdpConfig, address_of, burst, client_of, datagram, exchange,
                       restart, running, server_of, session_of, sessions_of, silent, take, udp_ended, udp_rules)
from lab import ROUTER, SERVICE
from seamtest import FAMILIES, Suite
from test_options import CLIENT
from verdict import Failure, check, wait_for
from wire import WAN0

PLAIN = UdpConfig()
IN_ORDER = UdpConfig(relay=NO_PACKET)  # those that tc translates overtake those that wait in a socket
WHOLE_MTU = 65535
LONGEST = {"v4": 65507, "v6": 65527}  # whole: 40 bytes less in IPv6
COUNT = 50
CABLES = (("client", "lan0"), ("router", "lan0"), ("router", "wan0"), ("server", "wan0"))


# Bulk -------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def mtu(env, value):
    """Of the way from the client to the server, for a while."""
    try:
        for side, device in CABLES:
            env.lab.run(side, "ip", "link", "set", device, "mtu", str(value))
        yield
    finally:
        for side, device in CABLES:
            env.lab.run(side, "ip", "link", "set", device, "mtu", "1500")


def bulk(env, family, size, whole):
    """Both ways; @whole: in one packet each."""
    window = COUNT if size <= 9000 else 4
    with mtu(env, WHOLE_MTU) if whole else contextlib.nullcontext():
        client, server = client_of(env, family), server_of(env, family)
        exchange(client, server)
        peer = burst(client, address_of(server), server, size, COUNT, window)
        check(burst(server, peer, client, size, COUNT, window)[:2] == address_of(server), "not from the server")
        burst(client, address_of(server), server, size, COUNT, window)


def first_flight(env, family):
    """What a client sends before there is a way for it."""
    server = server_of(env, family)
    for size, count in ((0, 30), (64, 30), (1500, 30), (LONGEST[family], 2)):
        burst(client_of(env, family), address_of(server), server, size, count, count)


def mixed(env, family):
    """Of all sizes, empty ones included, in a row, in order, both ways."""
    client, server, chance = client_of(env, family), server_of(env, family), random.Random(5)
    sizes = [chance.choice((0, 1, 64, 1200, 1200, 1200, 1472, 1473, 3000, 9000)) for _ in range(400)]
    peer = exchange(client, server)
    for sender, to, receiver in ((client, address_of(server), server), (server, peer, client)):
        for first in range(0, len(sizes), 40):
            for number in range(first, first + 40):
                sender.sendto(datagram(number, sizes[number]), to)
            for number in range(first, first + 40):
                take(receiver, datagram(number, sizes[number]))


def empty(env, family):
    """Datagrams without a byte are datagrams."""
    client, server = client_of(env, family), server_of(env, family)
    peer = None
    for _ in range(3):
        client.sendto(b"", address_of(server))
        peer = take(server, b"")
        server.sendto(b"", peer)
        take(client, b"", address_of(server))
    for _ in range(20):
        client.sendto(b"", address_of(server))
    client.sendto(b"last", address_of(server))
    for _ in range(20):
        take(server, b"")
    check(take(server, b"last") == peer, "another source")


def segments(env, family):
    """What a client sends with UDP_SEGMENT, as QUIC does, and a server back, comes as the datagrams that it is."""
    client, server = client_of(env, family), server_of(env, family)
    sizes, peer = (1200, 1200, 1200, 700), exchange(client, server)
    data = b"".join(datagram(number, size) for number, size in enumerate(sizes))
    for sender, receiver, to in ((client, server, address_of(server)), (server, client, peer)):
        sender.setsockopt(socket.IPPROTO_UDP, 103, 1200)
        for _ in range(10):
            sender.sendto(data, to)
        for _ in range(10):
            for number, size in enumerate(sizes):
                take(receiver, datagram(number, size))


# Who is seen, who may answer --------------------------------------------------------------------------

def mapping(env, family):
    """Whomever one socket writes to, all see the same source (RFC 4787 4.1)."""
    client = client_of(env, family)
    servers = [server_of(env, family, address=address) for address in
               (SERVICE[family], ELSEWHERE[family], THIRD[family]) for _ in range(7)]
    peers = {exchange(client, server)[:2] for server in servers}
    check(len({port for _, port in peers}) == 1, f"the servers see {peers}")
    for server in servers:  # again, the answers crossed
        client.sendto(b"again", address_of(server))
    for server in reversed(servers):
        server.sendto(b"answer", take(server, b"again"))
    answered = {client.recvfrom(100)[1][:2] for _ in servers}
    check(answered == {address_of(server) for server in servers}, f"answers from {answered}")


def filtering(env, family):
    """Whoever knows the mapping may write to the client (RFC 4787 5), in its own name; and be answered."""
    client, server = client_of(env, family), server_of(env, family)
    peer = exchange(client, server)
    for address in (SERVICE[family], THIRD[family]):
        other = server_of(env, family, address=address)
        for data in (b"hello", b"", b"again"):
            other.sendto(data, peer)
            take(client, data, address_of(other))
        exchange(client, other)
        exchange(client, server)


def connected(env, family):
    """One socket, one destination: others may not answer, and others have a session of their own."""
    restart(env)
    client, server = client_of(env, family), server_of(env, family)
    others = [server_of(env, family, address=address) for address in (SERVICE[family], ELSEWHERE[family])]
    peer = exchange(client, server)
    for other in others:
        other.sendto(b"intruder", peer)
    silent(client)
    ports = {exchange(client, one)[1] for one in (server, *others, server)}
    check(len(ports) == 3, f"three destinations see the ports {ports}")
    check(len(sessions_of(env, client)) == 3, f"sessions {sessions_of(env, client)}")
    check(exchange(client, server) == peer, "the first one sees another source")


def many_clients(env, family):
    """200 sockets, each with its own answers."""
    server, clients = server_of(env, family), [client_of(env, family) for _ in range(200)]
    for turn in range(3):
        for number, client in enumerate(clients):
            client.sendto(datagram(number, 100 + turn), address_of(server))
        peers = set()
        for _ in clients:
            data, peer = server.recvfrom(1 << 16)
            peers.add(peer)
            server.sendto(data, peer)
        check(len(peers) == len(clients), f"{len(peers)} sources")
        for number, client in enumerate(clients):
            take(client, datagram(number, 100 + turn), address_of(server))


def addresses(env, family):
    """Answers come from the address that was written to, of those the server has."""
    client, port = client_of(env, family), 0
    for address in (SERVICE[family], ELSEWHERE[family], THIRD[family]):
        server = server_of(env, family, port, address)
        port = address_of(server)[1]
        exchange(client, server)
        exchange(client, server)


def crossing(env, family):
    """Two clients and two servers, and a client whose port is the server's."""
    servers = [server_of(env, family) for _ in range(2)]
    clients = [client_of(env, family, address_of(servers[0])[1]), client_of(env, family)]
    for _ in range(5):
        for client in clients:
            for server in servers:
                exchange(client, server)


def inward(env, family):
    """What others begin towards a client on the LAN is not ours: it gets there, and the answer back."""
    route = ("route", "add", f"{CLIENT[family]}", "via", WAN0[family])
    env.lab.run("server", "ip", *route)
    try:
        server, client = server_of(env, family), client_of(env, family)
        for _ in range(3):
            server.sendto(b"call", (CLIENT[family], address_of(client)[1]))
            take(client, b"call", address_of(server))
            client.sendto(b"answer", address_of(server))
            peer = take(server, b"answer")
            check(peer[0] == CLIENT[family], f"the answer is from {peer}")
    finally:
        env.lab.run("server", "ip", "route", "del", *route[2:])


# Errors, ends -----------------------------------------------------------------------------------------

def dead_port(env, family):
    """A session that serves all destinations goes on when one of them is dead."""
    client, server = client_of(env, family), server_of(env, family)
    peer = exchange(client, server)
    for port in (9, 10, 11):
        client.sendto(b"anybody?", (SERVICE[family], port))
    time.sleep(0.2)
    with contextlib.suppress(ConnectionRefusedError):
        silent(client, 0)
    check(exchange(client, server)[:2] == peer[:2], "another source")
    client.sendto(b"anybody?", (SERVICE[family], 9))
    check(exchange(client, server)[:2] == peer[:2], "another source")


def ends(env):
    """All reasons so far."""
    return [line for line in env.daemon.ctl("metrics").splitlines()
            if "udp_sessions_closed_total" in line and not line.endswith(" 0")]


def dead_port_connected(env, family):
    """A session of its own ends with its destination, and says why; the client's other one goes on."""
    restart(env)
    client, server = client_of(env, family), server_of(env, family)
    peer, before = exchange(client, server), udp_ended(env, "unreachable")
    client.sendto(b"anybody?", (SERVICE[family], 9))
    wait_for(lambda: udp_ended(env, "unreachable") == before + 1, lambda: f"none ended as unreachable: {ends(env)}")
    session_of(env, client)
    check(exchange(client, server) == peer, "another source")
    other = server_of(env, family)
    exchange(client, other)
    gone = address_of(other)
    other.close()
    client.sendto(b"anybody?", gone)  # one that was answered before
    wait_for(lambda: udp_ended(env, "unreachable") == before + 2, "the session of a server that left goes on")


def no_route(env, family):
    """A datagram that cannot be sent is lost, and no more."""
    client, server = client_of(env, family), server_of(env, family)
    peer = exchange(client, server)
    for to in ({"v4": "192.0.2.1", "v6": "2001:db8::1"}[family], SERVICE[family]):
        client.sendto(b"lost", (to, 9))
    with contextlib.suppress(OSError):
        silent(client, 0.1)
    check(exchange(client, server)[:2] == peer[:2], "another source")


def strange_addresses(env):
    """Broadcast, multicast, our own port: not ours, and no harm."""
    client, server = client_of(env), server_of(env)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for to in (("10.77.1.255", 99), ("255.255.255.255", 99), ("224.0.0.251", 5353), (ROUTER["v4"], 12345),
               ("10.77.2.1", 12345), ("240.0.0.1", 99)):
        with contextlib.suppress(OSError):
            client.sendto(b"?", to)
    exchange(client, server)


def listed(env, family):
    """seamctl udp list: who, where to, by what, how much each way."""
    restart(env)
    client, server = client_of(env, family), server_of(env, family)
    for _ in range(3):
        exchange(client, server, data=b"12345")
    session = session_of(env, client)
    env.note(json.dumps(session))
    form = "[{}]:{}" if family == "v6" else "{}:{}"
    wanted = {"source": form.format(CLIENT[family], address_of(client)[1]), "inbound": "in", "outbound": "direct",
              "destination": form.format(*address_of(server)), "rule": -1}
    for key, value in wanted.items():
        check(session.get(key) == value, f"{key} is {session.get(key)!r}, not {value!r}")
    text = json.dumps(session)
    check(re_number(text, 3) and re_number(text, 15), f"3 datagrams of 15 bytes each way, not {text}")
    done = subprocess.run([SEAMCTL, "-s", env.daemon.socket, "udp", "list"], capture_output=True, text=True, check=True)
    check(wanted["source"] in done.stdout and "direct" in done.stdout, f"udp list says {done.stdout!r}")


def re_number(text, number):
    return f": {number}," in text or f": {number}}}" in text


def drain(env, family):
    """SIGTERM: sessions do not keep the daemon longer than drain_timeout, and it ends well."""
    env.need_daemon()
    clients, server = [client_of(env, family) for _ in range(20)], server_of(env, family)
    for client in clients:
        exchange(client, server)
    process, started = env.daemon.process, time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(4)
    except subprocess.TimeoutExpired:
        raise Failure("still there 4 s after SIGTERM, drain_timeout is 1 s") from None
    env.note(f"ended after {time.monotonic() - started:.2f} s")
    env.daemon.process = None
    env.daemon.verdict(process.returncode)


# Neighbours -------------------------------------------------------------------------------------------

def query(number):
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + b"\4name\4test\0" + struct.pack("!HH", 1, 1)


DNSMASQ = ("dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--port=53", "--user=root",
           "--cache-size=0", "--address=/name.test/10.0.0.53", "--pid-file=", "--log-facility=-")


def serves(said):
    """Port 53 would not tell: seam answers from it, too."""
    return "started" in said


def asked(client, to, number):
    """One question of many: the answer has its number and comes from where it was sent to."""
    client.sendto(query(number), to)
    data, source = client.recvfrom(4096)
    check(data[:2] == query(number)[:2] and source[:2] == to, f"answer {data[:2]!r} from {source[:2]}")
    return data


def steady(client, to, seconds):
    """Questions one after the other; how many."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        check(asked(client, to, number & 0xffff)[-4:] == socket.inet_aton("10.0.0.53"), "not dnsmasq's answer")
    return number


def servers_of_53(env, family, seconds):
    """Many clients ask a server by its port 53, which seam answers from."""
    server, end, count = server_of(env, family, 53), time.monotonic() + seconds, 0
    while time.monotonic() < end and count < 2000:
        client = client_of(env, family)
        exchange(client, server)
        client.close()
        count += 1
    return count


def local_service(env, family, bound):
    """A dnsmasq on the router, on all addresses or on each, answers its own clients meanwhile."""
    own, other = client_of(env, family), client_of(env, family)
    words = [f"--listen-address={ROUTER[family]}", "--bind-interfaces"] if bound else []
    with running(env, "router", *DNSMASQ, *words, ready=serves):
        counts = env.together((steady, own, (ROUTER[family], 53), 2), (steady, other, (ROUTER[family], 53), 2),
                              (servers_of_53, env, family, 2))
        env.note(f"{counts[0] + counts[1]} answers of dnsmasq, {counts[2]} by seam from port 53")


def own_address(env, family, bound):
    """Sessions that are answered from the router's own port 53: dnsmasq has that address, and keeps its clients."""
    restart(env)
    own = client_of(env, family)
    words = [f"--listen-address={ROUTER[family]}", "--bind-interfaces"] if bound else []

    def through(seconds):
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end and count < 2000:
            client = client_of(env, family)
            client.sendto(query(7), (SERVICE[family], 53))
            data, source = client.recvfrom(4096)
            check(data[-4:] == socket.inet_aton("10.0.0.53"), "not dnsmasq's answer")
            check(source[:2] == (ROUTER[family], 53), f"unmapped, the answer is from {source[:2]}")
            client.close()
            count += 1
        return count

    with running(env, "router", *DNSMASQ, *words, ready=serves):
        counts = env.together((steady, own, (ROUTER[family], 53), 2), (through, 2))
        env.note(f"{counts[0]} answers of dnsmasq, {counts[1]} of it by seam")


def taken_port(env, family):
    """A service of the router has a port on all addresses for itself (no SO_REUSEADDR: chronyd, WireGuard): seam answers
    from that port of others, and the service keeps its clients."""
    with env.lab.inside("router"):
        service = socket.socket(FAMILIES[family], socket.SOCK_DGRAM)
    env.open.append(service)
    service.settimeout(5)
    service.bind((ANY[family], 0))
    port = address_of(service)[1]
    client, own, server = client_of(env, family), client_of(env, family), server_of(env, family, port)
    for _ in range(3):
        exchange(client, server)
        own.sendto(b"own", (ROUTER[family], port))
        service.sendto(b"answer", take(service, b"own"))
        take(own, b"answer", (ROUTER[family], port))


def forgotten(env, family):
    """The router's connection tracking forgets a session long before its end. When the server is the first to speak then,
    the client's next datagram still is no answer to a connection from outside, which passes by the proxy."""
    timeouts = [f"net.netfilter.nf_conntrack_udp_timeout{name}" for name in ("", "_stream")]
    before = [env.lab.run("router", "sysctl", "-n", name).strip() for name in timeouts]
    try:
        env.lab.run("router", "sysctl", "-q", *(f"{name}=1" for name in timeouts))
        client, server = client_of(env, family), server_of(env, family)
        peer = exchange(client, server)
        time.sleep(2.2)
        server.sendto(b"are you there?", peer)
        take(client, b"are you there?", address_of(server))
        seen = exchange(client, server)
        check(seen == peer, f"the server saw {peer}, now {seen}")
    finally:
        env.lab.run("router", "sysctl", "-q", *(f"{name}={value}" for name, value in zip(timeouts, before)))


def reply_is_not_taken(env, family):
    """Another client's next datagram to a server is that client's, whatever socket seam answered the first from."""
    clients, server = [client_of(env, family) for _ in range(30)], server_of(env, family)
    peers = [exchange(client, server) for client in clients]
    for _ in range(3):
        for client, peer in zip(clients, peers):
            check(exchange(client, server) == peer, "another source")
    late = client_of(env, family)
    exchange(late, server)


def cases_of_bulk(suite, family):
    for size in (1500, 4096, 9000, LONGEST[family]):
        for whole in (False, True):
            length = min(size, WHOLE_MTU - (28 if family == "v4" else 48)) if whole else size
            suite.add(f"udp/bulk/{size}/{family}/{'whole' if whole else 'fragments'}", bulk, IN_ORDER, family=family,
                      size=length, whole=whole)
    connected_in_order = dataclasses.replace(CONNECTED, relay=NO_PACKET)
    suite.add(f"udp/mixed/{family}", mixed, IN_ORDER, family=family)
    for func in (empty, segments, first_flight):
        suite.add(f"udp/{func.__name__.replace('_', '-')}/{family}", func, PLAIN, family=family)
    suite.add(f"udp/mixed/{family}/connected", mixed, connected_in_order, family=family)
    suite.add(f"udp/bulk/9000/{family}/connected", bulk, connected_in_order, family=family, size=9000, whole=False)


def main():
    suite = Suite()
    hasty = UdpConfig(drain_timeout="1s")
    for family in FAMILIES:
        cases_of_bulk(suite, family)
        for func in (mapping, filtering, many_clients, addresses, crossing, inward, dead_port, no_route, listed,
                     reply_is_not_taken, taken_port, forgotten):
            suite.add(f"udp/{func.__name__.replace('_', '-')}/{family}", func, PLAIN, family=family)
        for func in (connected, dead_port_connected):
            suite.add(f"udp/{func.__name__.replace('_', '-')}/{family}", func, CONNECTED, family=family)
        for name in ("many_clients", "addresses", "crossing", "segments"):
            suite.add(f"udp/{name.replace('_', '-')}/{family}/connected", globals()[name], CONNECTED, family=family)
        to_router = udp_rules({"udp_disable_domain_unmapping": True, "action": "route-options",
                               "override_address": ROUTER[family]})
        for bound in (False, True):
            where = "bound" if bound else "any"
            suite.add(f"udp/local-service/{family}/{where}", local_service, PLAIN, family=family, bound=bound)
            suite.add(f"udp/own-address/{family}/{where}", own_address, to_router, family=family, bound=bound)
        suite.add(f"udp/drain/{family}", drain, hasty, family=family)
    suite.add("udp/strange-addresses", strange_addresses, PLAIN)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
