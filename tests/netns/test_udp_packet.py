#!/usr/bin/python3
"""UDP sessions that tc translates past the sockets: their datagrams, what stays with the sockets, when they end, and
when they must not be translated."""
import sys
import time

from datagrams import (ELSEWHERE, UdpConfig, address_of, burst, client_of, datagram, exchange, server_of, session_of,
                       sessions_of, take, udp_ended)
from seamtest import Suite
from verdict import check, wait_for

PACKET = UdpConfig(relay={"packet": "auto"})
SHORT = UdpConfig(relay={"packet": "auto"}, inbound={"udp_timeout": "2s"})
OFF = UdpConfig(relay={"packet": "off"})


def live(env, family, client=None, server=None):
    """A session that has shown that it lives, and the source that the server sees."""
    client, server = client or client_of(env, family), server or server_of(env, family)
    peer = None
    for _ in range(40):
        peer = exchange(client, server)
    return client, server, peer


def translated(env, client):
    told = session_of(env, client)
    return told["up"]["translated"], told["down"]["translated"]


def open_pair(env, family):
    client, server, peer = live(env, family)
    wait_for(lambda: session_of(env, client)["method"] == "packet", "never translated")
    return client, server, peer


def carried(env, family):
    """Nearly all goes by tc, from and to the same addresses; the counters have all of it."""
    client, server, peer = open_pair(env, family)
    before = translated(env, client)
    for number in range(500):
        size = (0, 1, 64, 1200, 1400)[number % 5]
        client.sendto(datagram(number, size), address_of(server))
        check(take(server, datagram(number, size)) == peer, "another source")
        server.sendto(datagram(number, size), peer)
        take(client, datagram(number, size), address_of(server))
    told = session_of(env, client)
    check(told["up"]["translated"] == before[0] + 500, f"{told}")
    check(told["down"]["translated"] == before[1] + 500, f"{told}")
    check(told["up"]["datagrams"] == 540 and told["down"]["datagrams"] == 540, f"{told}")


def bulk(env, family, size):
    """Bursts both ways; what has fragments is left to the sockets."""
    client, server, peer = open_pair(env, family)
    for _ in range(3):
        burst(client, address_of(server), server, size, 50, 4 if size > 9000 else 50)
        burst(server, peer, client, size, 50, 4 if size > 9000 else 50)


def segments(env, family):
    """Trains (UDP_SEGMENT) come as the datagrams that they are."""
    client, server, peer = open_pair(env, family)
    data = b"".join(datagram(number, 1200) for number in range(8))
    for sender, receiver, to in ((client, server, address_of(server)), (server, client, peer)):
        sender.setsockopt(17, 103, 1200)
        for _ in range(10):
            sender.sendto(data, to)
            for number in range(8):
                take(receiver, datagram(number, 1200))


def elsewhere(env, family):
    """The client's other servers see the same source, and third parties still reach it."""
    client, server, peer = open_pair(env, family)
    other = server_of(env, family, address=ELSEWHERE[family])
    for _ in range(5):
        check(exchange(client, other) == peer, "another source elsewhere")
        check(exchange(client, server) == peer, "another source")
    third = server_of(env, family)
    third.sendto(b"from a third one", peer)
    take(client, b"from a third one", address_of(third))


def idle(env, family):
    """What tc moves counts as life; without it the session ends in time."""
    client, server, _ = open_pair(env, family)
    for _ in range(12):
        time.sleep(0.4)
        exchange(client, server)
    check(session_of(env, client)["method"] == "packet", "it ended although it was used")
    began = time.monotonic()
    wait_for(lambda: not sessions_of(env, client), "it does not end", 8)
    took = time.monotonic() - began
    check(1.6 < took < 3.0, f"ended after {took:.1f} s")
    check(udp_ended(env, "idle"), "not by the timeout")
    exchange(client, server)


def killed(env, family):
    """An ended one is translated no more, and the next datagram begins anew."""
    client, server, _ = open_pair(env, family)
    env.daemon.ctl("udp", "kill", str(session_of(env, client)["id"]))
    check(not sessions_of(env, client), "still there")
    exchange(client, server)
    check(session_of(env, client)["up"]["datagrams"] == 1, "not a new one")


def behind_nat(env, family):
    """Where the router itself rewrites what it sends, tc must not: the server goes on seeing one source."""
    rules = {"v4": "ip daddr 10.77.9.9 udp dport 1-65535 masquerade to :20000-20100 random",
             "v6": "ip6 daddr fd77:9::9 udp dport 1-65535 masquerade to :20000-20100 random"}
    env.lab.run("router", "nft", f"table inet nat_of_test {{ chain out {{ type nat hook postrouting priority srcnat; "
                                 f"{rules[family]}; }}; }}")
    try:
        client, server, peer = live(env, family)
        check(20000 <= peer[1] <= 20100, f"no NAT: {peer}")
        for _ in range(100):
            check(exchange(client, server) == peer, "another source")
        check(translated(env, client) == (0, 0), "translated behind NAT")
    finally:
        env.lab.run("router", "nft", "delete table inet nat_of_test")


def off(env, family):
    client, _, _ = live(env, family)
    check(session_of(env, client)["method"] == "direct", "translated although it is off")


def removed(env, family):
    """Packets are removed by hand: sessions go on in user space, with all counters, until their own timeout."""
    client, server, peer = open_pair(env, family)
    before, config = session_of(env, client), env.daemon.config
    env.daemon.ctl("packet", "remove")
    check(session_of(env, client)["idle_ms"] < 2000, f"{session_of(env, client)}")
    for _ in range(40):
        check(exchange(client, server) == peer, "another source")
    time.sleep(1)
    check(exchange(client, server) == peer, "another source")
    told = session_of(env, client)
    check(told["id"] == before["id"] and told["method"] == "direct", f"{told}")
    for way in ("up", "down"):
        check(told[way]["datagrams"] == before[way]["datagrams"] + 41 and not told[way]["translated"], f"{told}")
    env.daemon.stop()
    env.daemon.start(config)


def main():
    suite = Suite()
    for family in ("v4", "v6"):
        for func in (carried, segments, elsewhere, killed, behind_nat):
            suite.add(f"udp-packet/{func.__name__}/{family}", func, PACKET, family=family)
        for size in (1200, 1472 if family == "v4" else 1452, 4096, 65507):
            suite.add(f"udp-packet/bulk/{size}/{family}", bulk, PACKET, family=family, size=size)
        suite.add(f"udp-packet/idle/{family}", idle, SHORT, family=family)
        suite.add(f"udp-packet/removed/{family}", removed, SHORT, family=family)
        suite.add(f"udp-packet/off/{family}", off, OFF, family=family)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
