#!/usr/bin/python3
"""UDP sessions end in time, each for its own reason, without anybody sending anything."""
import struct
import sys
import time

from datagrams import (UdpConfig, address_of, client_of, exchange, restart, server_of, session_of, sessions, take,
                       udp_ended)
from quic import initials
from seamtest import FAMILIES, Suite
from test_udp_routing import NTP, STUN
from verdict import check, wait_for

DTLS = b"\x16\xfe\xfd" + bytes(8) + struct.pack("!HB", 60, 1) + b"\0\0\x30" + bytes(2) + bytes(3) + b"\0\0\x30" + \
    b"\xfe\xfd" + bytes(46)
DNS = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\4name\4test\0" + struct.pack("!HH", 1, 1)
TIMES = UdpConfig(inbound={"udp_timeout": "5s"}, route={"rules": [
    {"port": [7701, 7702], "action": "route-options", "udp_timeout": "4s"},
    {"port": 7703, "action": "route-options", "udp_timeout": "15s"},
    {"port_range": "7702:7709", "action": "sniff"}]})
# Name: port, first datagram, seconds without a datagram until the end
ENDS = {"inbound": (7710, b"x", 5), "rule": (7701, b"x", 4), "rule-before-protocol": (7702, STUN, 4),
        "longer-rule-before-protocol": (7703, DNS, 15), "port-53": (53, b"x", 10), "port-123": (123, b"x", 10),
        "port-3478": (3478, b"x", 10), "port-443": (443, b"x", 30), "protocol-dns": (7704, DNS, 10),
        "protocol-ntp": (7704, NTP, 10), "protocol-stun": (7704, STUN, 10), "protocol-dtls": (7704, DTLS, 30),
        "protocol-quic": (7704, None, 30), "unknown-protocol": (7704, b"\xff" * 100, 5)}


def timeouts(env, family):
    """All at once, and nobody sends anything meanwhile."""
    restart(env)
    clients, started, took = {}, {}, {}
    for name, (port, data, _) in ENDS.items():
        clients[name], server = client_of(env, family), server_of(env, family, port)
        data = data or initials("exact.test")[0]
        clients[name].sendto(data, address_of(server))
        server.sendto(b"answer", take(server, data))
        take(clients[name], b"answer", address_of(server))
        started[name] = time.monotonic()
        server.close()
    files = env.daemon.fds()
    end = time.monotonic() + 36
    while len(took) < len(ENDS) and time.monotonic() < end:
        alive = {session["source"].rpartition(":")[2] for session in sessions(env)}
        for name, client in clients.items():
            if name not in took and str(address_of(client)[1]) not in alive:
                took[name] = time.monotonic() - started[name]
        time.sleep(0.05)
    wrong = {name: round(took.get(name, -1), 2) for name, (_, _, wanted) in ENDS.items()
             if not 0.9 * wanted <= took.get(name, -1) <= 1.1 * wanted}
    check(not wrong, f"ended after {wrong} s")
    check(env.daemon.fds() < files - 10, f"{env.daemon.fds()} files, {files} with the sessions")


def kept(env, family, who):
    """One session and datagrams of one side; both ends and who the server saw."""
    client, server = client_of(env, family), server_of(env, family)
    return client, server, exchange(client, server), who


def refreshed(env):
    """Datagrams of one side alone keep a session, and it ends when they do; the same client then has another one."""
    restart(env)
    ways = [kept(env, family, who) for family in FAMILIES for who in ("client", "server")]
    for number in range(6):
        time.sleep(0.8)
        for client, server, peer, who in ways:
            if who == "client":
                client.sendto(b"still", address_of(server))
                check(take(server, b"still") == peer, f"another session after {number * 0.8:.1f} s")
            else:
                server.sendto(b"still", peer)
                take(client, b"still", address_of(server))
    before = udp_ended(env, "idle")
    for client, *_ in ways:
        session_of(env, client)
    wait_for(lambda: not sessions(env), lambda: f"still there: {sessions(env)}", 3)
    check(udp_ended(env, "idle") == before + len(ways), "not ended as idle")
    for client, server, *_ in ways:
        exchange(client, server)


def main():
    suite = Suite()
    suite.add("udp-timeouts/each", timeouts, TIMES, 60, family="v4")
    suite.add("udp-timeouts/refreshed", refreshed, UdpConfig(inbound={"udp_timeout": "2s"}))
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
