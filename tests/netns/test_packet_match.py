#!/usr/bin/python3
"""Connections that are made like the client's, so that tc takes over what differs by itself: options that one of the hosts
lacks, ECN on one side, MTUs of all kinds. And what cannot be made up for."""
import contextlib
import dataclasses
import functools
import socket
import struct
import sys
import time

from seamtest import Suite
from streams import MIB, Stream, ping_pong, receive, send, whole_blocks
from test_packet import AUTO, QUIET, talk_until_taken
from verdict import check, wait_for

EXPLICIT = dataclasses.replace(QUIET, inbound={"mss": 1200})
FOUR = dataclasses.replace(QUIET, inbound={"listen": "0.0.0.0"})
BOUND = dataclasses.replace(QUIET, outbound={"bind_interface": "wan0"})
PLAIN = dataclasses.replace(AUTO, relay={"packet": "off"})
HEADERS = {"v4": 40, "v6": 60}
TIMESTAMPS, SACK, WINDOW_SCALE, ECN = 1, 2, 4, 8  # tcpi_options
HEARD, MARKS = "TcpExtTCPDeliveredCE", {"v4": "IpExtInCEPkts", "v6": "Ip6InCEPkts"}
LINKS = (("client", "lan0"), ("router", "lan0"), ("router", "wan0"), ("server", "wan0"))


@contextlib.contextmanager
def settings(env, values):
    """Sysctls of net.ipv4: {"client": {"tcp_sack": 0}}."""
    with contextlib.ExitStack() as stack:
        for side, names in values.items():
            for name, value in names.items():
                was = env.lab.run(side, "sysctl", "-n", f"net.ipv4.{name}").strip()
                write = functools.partial(env.lab.run, side, "sysctl", "-q", "-w")
                stack.callback(write, f"net.ipv4.{name}={was}")
                write(f"net.ipv4.{name}={value}")
        yield


@contextlib.contextmanager
def links(env, mtus, default=True):
    """MTUs: {("client", "lan0"): 1400}; one segment a packet, so that lengths can be seen; the router's default route."""
    gateways = (("-4", "10.77.2.2"), ("-6", "fd77:2::2")) if default else ()
    try:
        for side, name in LINKS:
            env.lab.run(side, "ip", "link", "set", name, "mtu", str(mtus.get((side, name), 1500)), "gso_max_segs", "1")
        for family, gateway in gateways:
            env.lab.run("router", "ip", family, "route", "add", "default", "via", gateway, "dev", "wan0")
        yield
    finally:
        for side, name in LINKS:
            env.lab.run(side, "ip", "link", "set", name, "mtu", "1500", "gso_max_segs", "65535")
        for family, gateway in gateways:
            env.lab.run("router", "ip", family, "route", "del", "default", "via", gateway, "dev", "wan0")


def none_longer(env, client, server):
    """Longer packets do not arrive."""
    return env.lab.nft(**{side: f"meta l4proto tcp meta length > {most} drop"
                          for side, most in (("client", client), ("server", server))})


def options_of(sock):
    return struct.unpack("8B", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8))[5]


def mss_of(sock):
    """What it puts into a packet, were there no timestamps."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) + (12 if options_of(sock) & TIMESTAMPS else 0)


def pair(env, family, mss=0):
    """As env.pair(), of a client that announces @mss."""
    listener, client = env.listen(family), env.socket("client", family)
    if mss:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
    client.connect(listener.getsockname()[:2])
    server = env.accept(listener)
    listener.close()
    return client, server


def carry(env, client, server, size=8 * MIB):
    """Both ways at once, after the take-over; then both ends."""
    before = env.daemon.flow_of(client)
    up, down = Stream(1, size), Stream(2, size)
    env.together((send, client, up, whole_blocks, False), (receive, server, up, False),
                 (send, server, down, whole_blocks, False), (receive, client, down, False))
    flow = env.daemon.flow_of(client)
    for way in ("up", "down"):
        moved = flow[way]["kernel_bytes"] - before[way]["kernel_bytes"]
        check(size <= moved < size * 1.4, f"{way}: {moved} of {size} are told")
    client.shutdown(socket.SHUT_WR)
    check(not server.recv(1), "bytes behind the end")
    server.shutdown(socket.SHUT_WR)
    check(not client.recv(1), "bytes behind the end")


def is_taken(env, client, server, bound=False):
    ping_pong(client, server, 10, 100)
    talk_until_taken(env, client, server, server if bound else None)  # whose packets come to a bound socket
    carry(env, client, server)


def is_refused(env, client, server, reason):
    def why():
        ping_pong(client, server, 2, 100)
        time.sleep(0.02)
        return env.daemon.flow_of(client)["packet"]

    wait_for(why, "it is neither taken nor refused", 5)
    check(why() == reason, f"{env.daemon.flow_of(client)}")
    up = Stream(3, MIB)
    env.together((send, client, up), (receive, server, up))


def options(env, family, sides, lacks, mss=0):
    """@lacks: tcpi_options that neither connection has."""
    with settings(env, sides), links(env, {}):
        client, server = pair(env, family, mss)
        for sock in (client, server):
            check(not options_of(sock) & lacks, f"options {options_of(sock):#x}")
        if mss:
            check(mss_of(server) == mss, f"the server sends {mss_of(server)}")
        with none_longer(env, mss + HEADERS[family] if mss else 1500, 1500):
            is_taken(env, client, server)


def refused(env, family, sides, reason):
    with settings(env, sides):
        client, server = pair(env, family)
    is_refused(env, client, server, reason)


def counter(env, side, name):
    return int(env.lab.run(side, "nstat", "-asz", name).split()[-2])


@contextlib.contextmanager
def marking(env, side, family):
    """Some of the packets that @side sends with ECT have met congestion. On the router tc is earlier than nft."""
    ip = {"v4": "ip", "v6": "ip6"}[family]
    env.lab.run(side, "nft", "-f", "-", stdin="table inet marks {\nchain c {\ntype filter hook output priority 0;\n"
                f"{ip} ecn ect0 numgen random mod 100 < 20 {ip} ecn set ce counter\n}}\n}}\n")
    try:
        yield
    finally:
        env.lab.run(side, "nft", "delete", "table", "inet", "marks")


def ecn(env, family, who, marked):
    """Only @who has ECN. Its packets are marked on the way here; where they go there are no marks, and it hears of
    them."""
    one, other = ("client", "server") if who == "client" else ("server", "client")
    ip = {"v4": "ip", "v6": "ip6"}[family]
    with settings(env, {"client": {"tcp_ecn": int(who == "client")}, "router": {"tcp_ecn": 2 if who == "client" else 1},
                        "server": {"tcp_ecn": int(who == "server")}}):
        client, server = pair(env, family)
    check(options_of(client if who == "client" else server) & ECN, "it has no ECN")
    check(not options_of(server if who == "client" else client) & ECN, "the other has ECN")
    ping_pong(client, server, 10, 100)
    talk_until_taken(env, client, server)
    before = counter(env, one, HEARD)
    with (marking(env, one, family) if marked else contextlib.nullcontext(),
          env.lab.nft(**{other: f"meta l4proto tcp {ip} ecn != not-ect drop\ntcp flags & (ecn | cwr) != 0 drop"})):
        carry(env, client, server)
    heard = counter(env, one, HEARD) - before
    check((heard > 0) == marked, f"it heard of {heard} marks")


def ecn_both(env, family):
    """Both have ECN: marks go through."""
    with settings(env, {side: {"tcp_ecn": 1} for side in ("client", "router", "server")}):
        client, server = pair(env, family)
    check(options_of(client) & options_of(server) & ECN, "they have no ECN")
    ping_pong(client, server, 10, 100)
    talk_until_taken(env, client, server)
    before = counter(env, "client", HEARD), counter(env, "server", MARKS[family])
    with marking(env, "client", family):
        carry(env, client, server)
    check(counter(env, "client", HEARD) > before[0], "the client hears of no mark")
    check(counter(env, "server", MARKS[family]) > before[1], "no mark arrives")


def told(env, family, mss):
    """A connection whose client was told @mss: the daemon hears of changes a little later."""
    made = []

    def try_it():
        made[:] = pair(env, family)
        return mss_of(made[0]) == mss

    wait_for(try_it, lambda: f"the client is told {mss_of(made[0])} instead of {mss}", 5, 0.1)
    return made


def mtu(env, family, mtus, most, mss, default=True):
    """@most: bytes of packets that go to the client, to the server; @mss: what the client is told."""
    with links(env, mtus, default):
        client, server = told(env, family, mss)
        with none_longer(env, *most):
            is_taken(env, client, server, env.daemon.config is BOUND)


def mtu_refused(env, family, mtus, mss, default=True, reason="mss"):
    with links(env, mtus, default):
        is_refused(env, *told(env, family, mss), reason)


def mtu_follows(env, family):
    """The listener's MSS follows the uplinks, also back."""
    with links(env, {("router", "wan0"): 1400}):
        told(env, family, 1340)
        env.lab.run("router", "ip", "link", "set", "wan0", "mtu", "1460")
        told(env, family, 1400)
    told(env, family, 1500 - HEADERS[family])


def untouched(env, family):
    """Without the packet method nothing is made up for."""
    with links(env, {("router", "wan0"): 1400}), settings(env, {"client": {"tcp_timestamps": 0}}):
        time.sleep(0.6)
        client, server = pair(env, family)
        check(mss_of(client) == 1500 - HEADERS[family], f"the client is told {mss_of(client)}")
        check(options_of(server) & TIMESTAMPS, "no timestamps to the server")
        ping_pong(client, server, 10, 100)


def add_options(suite, family):
    for name, sysctls, lacks in (
            ("timestamps", {"tcp_timestamps": 0}, TIMESTAMPS), ("sack", {"tcp_sack": 0}, SACK),
            ("both", {"tcp_timestamps": 0, "tcp_sack": 0}, TIMESTAMPS | SACK),
            ("window-scale", {"tcp_window_scaling": 0}, 0)):
        for method, config in (("packet", QUIET), ("auto", AUTO)):
            suite.add(f"client-without/{name}/{family}/{method}", options, config, 60, family=family,
                      sides={"client": sysctls}, lacks=lacks)
    nothing = {"client": {"tcp_timestamps": 0, "tcp_sack": 0, "tcp_window_scaling": 0}}
    for mss in (536, 1000):
        suite.add(f"small-client/{mss}/{family}", options, QUIET, 60, family=family, sides=nothing,
                  lacks=TIMESTAMPS | SACK, mss=mss)
    suite.add(f"client-mss/{family}", options, QUIET, 60, family=family, sides={}, lacks=0, mss=1300)
    suite.add(f"neither/timestamps/{family}", options, QUIET, 60, family=family,
              sides={side: {"tcp_timestamps": 0} for side in ("client", "server")}, lacks=TIMESTAMPS)
    for name, option in (("timestamps", "tcp_timestamps"), ("sack", "tcp_sack")):
        suite.add(f"server-without/{name}/{family}", refused, QUIET, family=family, sides={"server": {option: 0}},
                  reason=name)


def add_mtus(suite, family):
    headers, lan, wan = HEADERS[family], ("client", "lan0"), ("router", "wan0")
    jumbo = {lan: 9000, ("router", "lan0"): 9000}
    suite.add(f"mtu/client-1400/{family}", mtu, QUIET, 60, family=family, mtus={lan: 1400}, most=(1400, 1400),
              mss=1400 - headers)
    suite.add(f"mtu/lan-1400/{family}", mtu, QUIET, 60, family=family, mtus={lan: 1400, ("router", "lan0"): 1400},
              most=(1400, 1400), mss=1400 - headers)
    for size in (1400, 1492):
        suite.add(f"mtu/uplink-{size}/{family}", mtu, QUIET, 60, family=family, mtus={wan: size}, most=(size, size),
                  mss=size - 60)
        suite.add(f"mtu/uplink-{size}/{family}/bound", mtu, BOUND, 60, family=family, mtus={wan: size},
                  most=(size, size), mss=size - 60, default=False)
        suite.add(f"mtu/uplink-{size}/{family}/unknown", mtu_refused, QUIET, family=family, mtus={wan: size},
                  mss=1500 - headers, default=False)
    suite.add(f"mtu/uplink-1400/{family}/auto", mtu, AUTO, 60, family=family, mtus={wan: 1400}, most=(1400, 1400), mss=1340)
    suite.add(f"mtu/lan-9000/{family}", mtu, QUIET, 60, family=family, mtus=jumbo, most=(1500, 1500), mss=1440)
    suite.add(f"mtu/all-9000/{family}", mtu, QUIET, 60, family=family, most=(9000, 9000), mss=9000 - headers,
              mtus={link: 9000 for link in LINKS})
    suite.add(f"mtu/server-1400/{family}", mtu_refused, QUIET, family=family, mtus={("server", "wan0"): 1400},
              mss=1500 - headers)
    suite.add(f"mtu/server-1492/{family}", mtu_refused, QUIET, family=family, mtus={("server", "wan0"): 1492},
              mss=1500 - headers)
    suite.add(f"mtu/follows/{family}", mtu_follows, QUIET, 30, family=family)
    suite.add(f"mss/{family}", mtu, EXPLICIT, 60, family=family, mtus={}, most=(1500, 1200 + headers), mss=1200)
    suite.add(f"off/{family}", untouched, PLAIN, family=family)


def main():
    suite = Suite()
    for family in ("v4", "v6"):
        add_options(suite, family)
        add_mtus(suite, family)
        for who in ("client", "server"):
            for marked in (False, True):
                suite.add(f"ecn/{who}/{family}/{'marked' if marked else 'plain'}", ecn, QUIET, 60, family=family, who=who,
                          marked=marked)
        suite.add(f"ecn/both/{family}", ecn_both, QUIET, 60, family=family)
    suite.add("mtu/uplink-1400/v4/ipv4-listener", mtu, FOUR, 60, family="v4", mtus={("router", "wan0"): 1400},
              most=(1400, 1400), mss=1360)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
