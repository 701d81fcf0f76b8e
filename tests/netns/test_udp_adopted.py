#!/usr/bin/python3
"""UDP sessions that tc translates, and the daemon that ends: killed, or stopped with on_exit keep. Their datagrams go
on, the next daemon has them as its own, and ends them."""
import dataclasses
import re
import sys
import threading
import time

from datagrams import (CONNECTED, ELSEWHERE, UdpConfig, address_of, burst, client_of, datagram, exchange, metric,
                       server_of,                       session_of, sessions, sessions_of, silent, take, udp, udp_ended)
from seamtest import Suite
from test_udp_packet import PACKET, live, open_pair, translated
from verdict import check, wait_for

SHORT = UdpConfig(relay={"packet": "auto"}, inbound={"udp_timeout": "6s"})
MANY = UdpConfig(relay={"packet": "auto"}, inbound={"udp_timeout": "8s"})
CLOSE = UdpConfig(relay={"packet": "auto", "on_exit": "close"})
ONE_PEER = dataclasses.replace(CONNECTED, relay={"packet": "auto"})
BOUND = UdpConfig(relay={"packet": "auto"}, outbound={"inet4_bind_address": "10.77.2.77"})
OPTIONS = {"none": {}, "interface": {"bind_interface": "wan1"}, "mark": {"routing_mark": 77},
           "address": {"inet4_bind_address": "10.77.3.1", "inet6_bind_address": "fd77:3::1"},
           "transparent": {"transparent_source": "address"}, "as-client": {"transparent_source": "address_port"},
           "no-fragments": {"udp_fragment": False}}


def crash(env, config=None):
    config = config or env.daemon.config
    env.daemon.kill()
    env.daemon.start(config)


def adopted(env, client, told=None):
    told = told or session_of(env, client)
    check(told["adopted"] and told["method"] == "packet" and told["state"] == "relay" and told["replied"], f"{told}")
    check(told["inbound"] == "in" and told["outbound"] == "direct", f"{told}")
    return told


def both_ways(client, server, peer, count=20, size=700):
    """The server goes on seeing one source, the client one server."""
    for number in range(count):
        client.sendto(datagram(number, size), address_of(server))
        check(take(server, datagram(number, size)) == peer, "another source")
        server.sendto(datagram(number, size), peer)
        take(client, datagram(number, size), address_of(server))


def by_port(env):
    """Those of all clients, by the port of each."""
    return {int(told["source"].rpartition(":")[2]): told for told in sessions(env)}


def paced(pairs, over, counts):
    """An exchange of each in turn; how many of each there were."""
    number = 0
    while not over.is_set():
        for index, (client, server, peer) in enumerate(pairs):
            both_ways(client, server, peer, 1, 100 + (number + index) % 1000)
            counts[index] += 1
        number += 1
        time.sleep(0.02)


def crashes(env, family, count):
    """SIGKILL under traffic: nothing is lost; ids and counters go on, also those of the daemon; they end in time."""
    pairs = [open_pair(env, family)] + [live(env, family) for _ in range(count - 1)]
    before = {port: told for port, told in by_port(env).items() if told["method"] == "packet"}
    check(len(before) == count, f"{len(before)} of {count} are translated")
    config, over, counts = env.daemon.config, threading.Event(), [0] * count
    traffic = env.spawn(paced, pairs, over, counts)
    time.sleep(1)
    env.daemon.kill()
    time.sleep(0.5)
    env.daemon.start(config)
    time.sleep(0.3)
    over.set()
    traffic.result()
    after = by_port(env)
    total = metric(env, 'seam_udp_datagrams_total{direction="up"}')
    check(0 < total < sum(counts), f"{total} datagrams since the start, {sum(counts)} in all")
    for (client, server, peer), moved in zip(pairs, counts):
        check(exchange(client, server_of(env, family, address=ELSEWHERE[family])) == peer, "another source elsewhere")
        port = client.getsockname()[1]
        was, told = before[port], adopted(env, client, after[port])
        check(was["id"] == told["id"], f"{was} {told}")
        for way in ("up", "down"):
            check(told[way]["datagrams"] == was[way]["datagrams"] + moved, f"{moved}: {was} {told}")
            check(told[way]["bytes"] > was[way]["bytes"], f"{was} {told}")
        check(told["timeout_ms"] == 8000 and told["age_ms"] >= 1000, f"{told}")
    fresh, _, _ = live(env, family)
    check(session_of(env, fresh)["id"] not in [told["id"] for told in before.values()], "an id is given twice")
    began = time.monotonic()
    wait_for(lambda: not sessions(env), "they do not end", 12)
    took = time.monotonic() - began
    check(1 < took < 10, f"ended after {took:.1f} s")
    check(udp_ended(env, "idle") == count + 1, "not by the timeout")
    check(exchange(*pairs[0][:2]) != pairs[0][2], "still translated")


def stops(env, family, keep):
    """SIGTERM; then also a second time, and what goes by the sockets is counted."""
    client, server, peer = open_pair(env, family)
    config, before = env.daemon.config, session_of(env, client)
    for round_ in range(2 if keep else 1):
        env.daemon.stop()
        if not keep:
            env.daemon.start(config)
            check(not sessions_of(env, client), "still there")
            check(exchange(client, server) != peer, "the same source")
            return
        both_ways(client, server, peer)
        env.daemon.start(config)
        adopted(env, client)
        both_ways(client, server, peer)
        burst(client, address_of(server), server, 4096, 4, 4)
        burst(server, peer, client, 4096, 4, 4)
        told = adopted(env, client)
        for way in ("up", "down"):
            check(told[way]["datagrams"] == before[way]["datagrams"] + 44 * (round_ + 1), f"{before} {told}")


def ends_by_kill(env, family):
    client, server, peer = open_pair(env, family)
    crash(env)
    told = adopted(env, client)
    env.daemon.ctl("udp", "kill", str(told["id"]))
    check(not sessions_of(env, client), "still there")
    server.sendto(b"late", peer)
    silent(client)
    check(exchange(client, server) != peer, "the same source")
    check(session_of(env, client)["up"]["datagrams"] == 1, "not a new one")


def third_parties(env, family):
    """Who else writes to the source is let in, as before; trains and long ones go on."""
    client, server, peer = open_pair(env, family)
    crash(env)
    third = server_of(env, family)
    third.sendto(b"from a third one", peer)
    take(client, b"from a third one", address_of(third))
    for size in (4096, 65507):
        check(burst(client, address_of(server), server, size, 8, 4)[:2] == peer[:2], "another source")
        burst(server, peer, client, size, 8, 4)


def ends_alone(env, family):
    """Nobody is there to end it: it does not carry on for whoever has its ports next."""
    client, server, peer = open_pair(env, family)
    config = env.daemon.config
    env.daemon.stop()
    both_ways(client, server, peer)
    time.sleep(6.3)
    server.sendto(b"late", peer)
    client.sendto(b"late", address_of(server))
    silent(client)
    silent(server)
    env.daemon.start(config)
    check(not sessions_of(env, client), "still there")
    check(exchange(client, server) != peer, "the same source")


def half_open(env, family, stop):
    """The server's datagrams were translated, and the client's not yet: it ends with the daemon, or, if that had no
    time for it, by the next one."""
    open_pair(env, family)  # the interfaces are ready for more
    client, server = client_of(env, family), server_of(env, family)
    for _ in range(8):
        peer = exchange(client, server)
    for _ in range(3):
        time.sleep(0.1)
        server.sendto(b"translated", peer)
        take(client, b"translated", address_of(server))
    up, down = translated(env, client)
    check(up == 0 and down >= 1, f"{session_of(env, client)}")
    config = env.daemon.config
    if stop:
        env.daemon.stop()
        server.sendto(b"late", peer)
        silent(client)
    else:
        env.daemon.kill()
    env.daemon.start(config)
    check(not sessions_of(env, client), "still there")
    server.sendto(b"late", peer)
    silent(client)
    live(env, family, client, server)


def port_taken(env, family):
    """Meanwhile somebody else took the port: it ends, and the client's next datagram begins anew."""
    client, server, peer = open_pair(env, family)
    config = env.daemon.config
    env.daemon.kill()
    taker = udp(env, "router", family, port=peer[1])
    env.daemon.start(config)
    check(not sessions_of(env, client), "still there")
    server.sendto(b"for the taker", peer)
    take(taker, b"for the taker")
    check(exchange(client, server) != peer, "the same source")


def other_workers(env, family):
    """Which of them gets what the client sends elsewhere is not known: they end."""
    client, server, peer = open_pair(env, family)
    crash(env, dataclasses.replace(env.daemon.config, workers=3))
    check(not sessions_of(env, client), "still there")
    server.sendto(b"late", peer)
    silent(client)
    exchange(client, server)


def switched_off(env, family):
    """The next daemon begins no pairs, and carries on with those that are there."""
    client, server, peer = open_pair(env, family)
    crash(env, dataclasses.replace(env.daemon.config, relay={"packet": "off"}))
    adopted(env, client)
    both_ways(client, server, peer)
    other, _, _ = live(env, family)
    check(session_of(env, other)["method"] == "direct", "a new one is translated")


def one_peer(env, family):
    """A connected socket is connected again: nobody else is let in, and other servers have sessions of their own."""
    client, server, peer = open_pair(env, family)
    crash(env)
    check(adopted(env, client)["bound"], "not bound")
    both_ways(client, server, peer)
    third = server_of(env, family)
    third.sendto(b"from a third one", peer)
    silent(client)
    check(exchange(client, third) != peer, "the same source for another server")
    check(burst(client, address_of(server), server, 4096, 8, 4)[:2] == peer[:2], "another source")


def socket_at(env, peer):
    """What the kernel says of the router's socket that the server sees as @peer."""
    told = env.lab.run("router", "ss", "-Huane", "--inet-sockopt", f"sport = :{peer[1]}")
    check(told.count("UNCONN") == 1, f"{told!r}")
    return re.sub(r" (ino|sk):\w+", "", told)


def as_it_was(env, family, option):
    client, server, peer = open_pair(env, family)
    was = socket_at(env, peer)
    crash(env)
    adopted(env, client)
    both_ways(client, server, peer)
    check(socket_at(env, peer) == was, f"{socket_at(env, peer)}, it was {was}")
    if option != "no-fragments":
        check(burst(client, address_of(server), server, 4096, 4, 4)[:2] == peer[:2], "another source")
    else:
        client.sendto(datagram(1, 4096), address_of(server))
        silent(server)


def address_gone(env):
    """Its own address leaves the router: it ends."""
    ip = ("10.77.2.77/24", "dev", "wan0")
    env.lab.run("router", "ip", "addr", "add", *ip)
    try:
        client, _, peer = open_pair(env, "v4")
        check(peer[0] == "10.77.2.77", f"{peer}")
        crash(env)
        adopted(env, client)
    finally:
        env.lab.run("router", "ip", "addr", "del", *ip)
    wait_for(lambda: not sessions_of(env, client), "still there")
    check(udp_ended(env, "address-gone") == 1, "not by its address")


def main():
    suite = Suite()
    for family in ("v4", "v6"):
        suite.add(f"udp-adopted/crash/{family}", crashes, MANY, 60, family=family, count=50)
        suite.add(f"udp-adopted/ends-alone/{family}", ends_alone, SHORT, family=family)
        suite.add(f"udp-adopted/keep/{family}", stops, PACKET, family=family, keep=True)
        suite.add(f"udp-adopted/close/{family}", stops, CLOSE, family=family, keep=False)
        for func in (ends_by_kill, third_parties, port_taken, other_workers, switched_off):
            suite.add(f"udp-adopted/{func.__name__.replace('_', '-')}/{family}", func, PACKET, family=family)
        for stop in (False, True):
            suite.add(f"udp-adopted/half-open/{'stop' if stop else 'crash'}/{family}", half_open, PACKET, family=family,
                      stop=stop)
        suite.add(f"udp-adopted/one-peer/{family}", one_peer, ONE_PEER, family=family)
        for name, option in OPTIONS.items():
            suite.add(f"udp-adopted/socket/{name}/{family}", as_it_was,
                      UdpConfig(relay={"packet": "auto"}, outbound=option), family=family, option=name)
    suite.add("udp-adopted/address-gone", address_gone, BOUND)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
