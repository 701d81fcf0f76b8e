#!/usr/bin/python3
"""UDP sessions that tc translates past the sockets: their datagrams, what stays with the sockets, when they end, and
when they must not be translated."""
import functools
import json
import sys
import time

from datagrams import (ELSEWHERE, UdpConfig, address_of, burst, client_of, datagram, exchange, metric, server_of,
                       session_of, sessions_of, take, udp_ended, udp_rules)
from lab import SERVICE
from seamtest import Suite
from verdict import check, wait_for

PACKET = UdpConfig(relay={"packet": "auto"})
SHORT = UdpConfig(relay={"packet": "auto"}, inbound={"udp_timeout": "2s"})
OFF = UdpConfig(relay={"packet": "off"})


def unmapped(family):
    """To the service, whomever the client wrote to."""
    return udp_rules({"port": 7611, "action": "route-options", "udp_disable_domain_unmapping": True},
                     {"port": 7611, "outbound": "direct", "override_address": SERVICE[family]},
                     relay={"packet": "auto"})


def live(env, family, client=None, server=None):
    """A session that has shown that it lives, and the source that the server sees."""
    client, server = client or client_of(env, family), server or server_of(env, family)
    peer = None
    for _ in range(40):
        peer = exchange(client, server)
    return client, server, peer


def pairs_of(env):
    return json.loads(env.daemon.ctl("-j", "status"))["relay"]["packet"]["pairs"]


def translated(env, client):
    told = session_of(env, client)
    return told["up"]["translated"], told["down"]["translated"]


def open_pair(env, family):
    """Interfaces that no pair has used yet take some time."""
    client, server, peer = live(env, family)

    def is_open():
        return exchange(client, server) == peer and session_of(env, client)["method"] == "packet"

    wait_for(is_open, "never translated", 10)
    return client, server, peer


def carried(env, family):
    """Nearly all goes by tc, from and to the same addresses; the counters have all of it."""
    client, server, peer = open_pair(env, family)
    before = session_of(env, client)
    for number in range(500):
        size = (0, 1, 64, 1200, 1400)[number % 5]
        client.sendto(datagram(number, size), address_of(server))
        check(take(server, datagram(number, size)) == peer, "another source")
        server.sendto(datagram(number, size), peer)
        take(client, datagram(number, size), address_of(server))
    told = session_of(env, client)
    for way in ("up", "down"):
        for name in ("translated", "datagrams"):
            check(told[way][name] == before[way][name] + 500, f"{before} {told}")
    check(told["up"]["datagrams"] == told["down"]["datagrams"], f"{told}")


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
    """What tc moves counts as life, whoever sends it; without it the session ends in time."""
    client, server, peer = open_pair(env, family)
    for number in range(14):
        time.sleep(0.4)
        if number < 7:
            server.sendto(b"news", peer)
            take(client, b"news", address_of(server))
        else:
            client.sendto(b"thanks", address_of(server))
            check(take(server, b"thanks") == peer, "another source")
    check(session_of(env, client)["method"] == "packet", "it ended although it was used")
    began = time.monotonic()
    wait_for(lambda: not sessions_of(env, client), "it does not end", 8)
    took = time.monotonic() - began
    check(1.6 < took < 3.0, f"ended after {took:.1f} s")
    check(udp_ended(env, "idle"), "not by the timeout")
    exchange(client, server)


def rests(env, family):
    """The client speaks to somebody else for longer than the timeout: tc does not know that the session lives, and is
    told again when it comes back."""
    client, server, peer = open_pair(env, family)
    other = server_of(env, family, address=ELSEWHERE[family])
    for _ in range(7):
        time.sleep(0.4)
        check(exchange(client, other) == peer, "another source elsewhere")
    before = translated(env, client)[0]
    check(exchange(client, server) == peer, "another source")
    wait_for(lambda: exchange(client, server) == peer and translated(env, client)[0] > before,
             lambda: f"{before}: {session_of(env, client)}", 10)


def killed(env, family):
    """An ended one is translated no more, and the next datagram begins anew."""
    client, server, _ = open_pair(env, family)
    before = metric(env, 'seam_udp_datagrams_total{direction="up"}')
    env.daemon.ctl("udp", "kill", str(session_of(env, client)["id"]))
    check(not sessions_of(env, client), "still there")
    check(metric(env, 'seam_udp_datagrams_total{direction="up"}') == before, "the total is another")
    exchange(client, server)
    check(session_of(env, client)["up"]["datagrams"] == 1, "not a new one")


def behind_nat(env, family):
    """Where the router itself rewrites what it sends, tc must not: the server goes on seeing one source."""
    open_pair(env, family)  # the interfaces are ready for more
    before = pairs_of(env)
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
        wait_for(lambda: pairs_of(env) <= before, "it still has a pair", 3)
    finally:
        env.lab.run("router", "nft", "delete table inet nat_of_test")


def all_arrive(sender, to, receiver, count):
    """@count datagrams at once: each arrives, once, in whatever order; returns who sent them."""
    sent = [datagram(number, 100) for number in range(count)]
    for data in sent:
        sender.sendto(data, to)
    came = [receiver.recvfrom(65536) for _ in sent]
    check(sorted(data for data, _ in came) == sorted(sent), "not what was sent")
    check(len({source for _, source in came}) == 1, "from several")
    return came[0][1]


def busy(env, family):
    """The pair begins with many datagrams under way: those that tc has may overtake those that wait in sockets."""
    client, server = client_of(env, family), server_of(env, family)
    peer = all_arrive(client, address_of(server), server, 50)
    deadline = time.monotonic() + 10
    while session_of(env, client)["method"] != "packet":
        check(time.monotonic() < deadline, f"{session_of(env, client)}")
        all_arrive(server, peer, client, 50)
        check(all_arrive(client, address_of(server), server, 50) == peer, "another source")


def own_name(env, family):
    """Answers come as from who answers, whom the client did not write to: tc has no part in that."""
    open_pair(env, family)  # the interfaces are ready for more
    client, server = client_of(env, family), server_of(env, family, 7611)
    client.sendto(b"question", (ELSEWHERE[family], 7611))
    peer = take(server, b"question")
    for _ in range(40):
        server.sendto(b"answer", peer)
        take(client, b"answer", address_of(server))
        client.sendto(b"thanks", (ELSEWHERE[family], 7611))
        check(take(server, b"thanks") == peer, "another source")
    check(session_of(env, client)["method"] == "direct", "translated")


def other_gateway(env, family):
    """A rule leads to another gateway, of which no interface tells: both are the server's, then the old one is
    nobody's."""
    client, server, peer = open_pair(env, family)
    where, old, new = {"v4": ("10.77.9.9", "10.77.2.2", "10.77.2.99"),
                       "v6": ("fd77:9::9", "fd77:2::2", "fd77:2::99")}[family]
    ip = functools.partial(env.lab.run, "router", "ip")
    mac = json.loads(env.lab.run("server", "ip", "-j", "link", "show", "wan0"))[0]["address"]
    ip("neigh", "replace", new, "lladdr", mac, "dev", "wan0", "nud", "permanent")
    version = "-6" if family == "v6" else "-4"
    ip(version, "route", "add", where, "via", new, "dev", "wan0", "table", "100")
    time.sleep(0.5)
    ip(version, "rule", "add", "to", where, "lookup", "100")
    try:
        time.sleep(5.5)
        ip("neigh", "replace", old, "lladdr", "02:00:00:00:00:99", "dev", "wan0", "nud", "permanent")
        for _ in range(20):
            check(exchange(client, server) == peer, "another source")
        check(session_of(env, client)["method"] == "packet", "translated no more")
    finally:
        ip(version, "rule", "del", "to", where, "lookup", "100")
        ip(version, "route", "flush", "table", "100")
        for address in (old, new):
            ip("neigh", "del", address, "dev", "wan0")


def other_address(env, family, crashes):
    """The way leaves from another address now: what is sent has that one, and is translated again."""
    client, server, peer = open_pair(env, family)
    if crashes:
        config = env.daemon.config
        env.daemon.kill()
        env.daemon.start(config)
        check(session_of(env, client)["adopted"], "not adopted")
    where, via = {"v4": ("10.77.9.9", "10.77.2.2"), "v6": ("fd77:9::9", "fd77:2::2")}[family]
    source, bits = {"v4": ("10.77.2.66", "24"), "v6": ("fd77:2::66", "64")}[family]
    ip = functools.partial(env.lab.run, "router", "ip")
    nodad = ("nodad",) if family == "v6" else ()
    ip("addr", "add", f"{source}/{bits}", "dev", "wan0", *nodad)
    ip("route", "replace", where, "via", via, "dev", "wan0", "metric", "10", "src", source)
    try:
        time.sleep(5.5)
        check(exchange(client, server) == (source, *peer[1:]), "the old source")
        wait_for(lambda: exchange(client, server) and session_of(env, client)["method"] == "packet", "never again", 10)
        check(exchange(client, server) == (source, *peer[1:]), "the old source")
    finally:
        ip("route", "replace", where, "via", via, "dev", "wan0", "metric", "10")
        ip("addr", "del", f"{source}/{bits}", "dev", "wan0")


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
        check(told[way]["datagrams"] == before[way]["datagrams"] + 41, f"{told}")
        check(told[way]["translated"] == before[way]["translated"], f"{told}")
    env.daemon.stop()
    env.daemon.start(config)


def main():
    suite = Suite()
    for family in ("v4", "v6"):
        for func in (carried, segments, elsewhere, killed, behind_nat, busy):
            suite.add(f"udp-packet/{func.__name__}/{family}", func, PACKET, family=family)
        for size in (1200, 1472 if family == "v4" else 1452, 4096, 65507):
            suite.add(f"udp-packet/bulk/{size}/{family}", bulk, PACKET, family=family, size=size)
        suite.add(f"udp-packet/idle/{family}", idle, SHORT, family=family)
        suite.add(f"udp-packet/rests/{family}", rests, SHORT, family=family)
        suite.add(f"udp-packet/removed/{family}", removed, SHORT, family=family)
        suite.add(f"udp-packet/off/{family}", off, OFF, family=family)
        suite.add(f"udp-packet/own-name/{family}", own_name, unmapped(family), family=family)
        suite.add(f"udp-packet/other-gateway/{family}", other_gateway, PACKET, 30, family=family)
        for crashes in (False, True):
            suite.add(f"udp-packet/other-address/{'adopted' if crashes else 'own'}/{family}", other_address, PACKET, 30,
                      family=family, crashes=crashes)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
