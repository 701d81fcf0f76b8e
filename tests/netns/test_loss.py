#!/usr/bin/python3
"""The network changes under living flows: what stood on a lost address or interface ends at once, everything else
goes on, new connections take the new way, and the daemon tells what is there now. Three uplinks: wan0, wan1 and wan2,
which a case makes and takes away."""
import contextlib
import dataclasses
import json
import re
import sys
import time

from daemon import Config
from lab import SERVICE
from seamtest import Suite
from streams import Stream, expect_reset, ping_pong, receive, send
from verdict import Failure, check, wait_for

CLIENT = {"v4": "10.77.1.2", "v6": "fd77:1::2"}
WAN0 = {"v4": "10.77.2.1", "v6": "fd77:2::1"}
WAN1 = {"v4": "10.77.3.1", "v6": "fd77:3::1"}
WAN2 = {"v4": "10.77.4.1", "v6": "fd77:4::1"}
BEHIND_WAN2 = {"v4": "10.77.4.2", "v6": "fd77:4::2"}  # the server's
GATEWAY = {"wan0": {"v4": "10.77.2.2", "v6": "fd77:2::2"}, "wan1": {"v4": "10.77.3.2", "v6": "fd77:3::2"}}
BY_ROUTE = Config("auto", enter_after=0)
BOUND = Config("auto", enter_after=0, outbound={"bind_interface": "wan2"})
AUTO = Config("auto", enter_after=0, route={"auto_detect_interface": True})
PACKET = dataclasses.replace(AUTO, relay={"packet": "auto"})
TRANSPARENT = Config("auto", enter_after=0, outbound={"transparent_source": "address"})
END_SECONDS, TELL_SECONDS = 2, 1  # within which a flow ends, and the daemon tells


def ip(env, *words, side="router"):
    return env.lab.run(side, "ip", *words)


def ip_route(env, family, *words):
    ip(env, "-6" if family == "v6" else "-4", "route", *words)


# What there is ----------------------------------------------------------------------------------------

def told(env, name):
    """What the daemon tells of an interface, or None."""
    return next((entry for entry in json.loads(env.daemon.ctl("-j", "interfaces")) if entry["name"] == name), None)


def expect_told(env, what, name, **values):
    """The members of @name that matter come to be @values in time."""
    def now():
        return {key: (told(env, name) or {}).get(key) for key in values}
    started = time.monotonic()
    wait_for(lambda: now() == values, lambda: f"{what}, {name}: told {now()}, not {values}", TELL_SECONDS)
    env.note(f"{what}: {time.monotonic() - started:.2f} s")


def addresses(env, name):
    return {re.sub(r"/\d+$", "", address) for address in (told(env, name) or {"addresses": ()})["addresses"]}


def wait_for_carrier(env):
    """Up to a second: not for the daemon to answer for."""
    wait_for(lambda: " UP " in ip(env, "-br", "link", "show", "wan2"), "wan2 does not come up")


@contextlib.contextmanager
def wan2(env):
    """A third cable between router and server, that the daemon knows of."""
    env.need_ctl()
    ip(env, "link", "add", "wan2", "type", "veth", "peer", "name", "wan2", "netns", f"{env.lab.name}-server")
    try:
        for side, number in (("router", 1), ("server", 2)):
            ip(env, "addr", "add", f"10.77.4.{number}/24", "dev", "wan2", side=side)
            ip(env, "addr", "add", f"fd77:4::{number}/64", "dev", "wan2", "nodad", side=side)
            ip(env, "link", "set", "wan2", "up", side=side)
        wait_for_carrier(env)
        wait_for(lambda: (told(env, "wan2") or {"running": False})["running"] and
                 set(WAN2.values()) <= addresses(env, "wan2"), lambda: f"told {told(env, 'wan2')}", TELL_SECONDS)
        yield
    finally:
        with contextlib.suppress(Failure):
            ip(env, "link", "del", "wan2")


def links(env):
    """A link comes, changes and goes."""
    with wan2(env):
        index = json.loads(ip(env, "-j", "link", "show", "wan2"))[0]["ifindex"]
        expect_told(env, "come", "wan2", index=index, up=True, running=True, mtu=1500, default4=False, default6=False)
        check(isinstance(told(env, "wan2")["type"], str), f"told {told(env, 'wan2')}")
        ip(env, "link", "set", "wan2", "mtu", "1400")
        expect_told(env, "mtu", "wan2", mtu=1400)
        ip(env, "addr", "add", "10.77.4.77/32", "dev", "wan2")
        wait_for(lambda: "10.77.4.77" in addresses(env, "wan2"), "an address is not told", TELL_SECONDS)
        ip(env, "addr", "del", "10.77.4.77/32", "dev", "wan2")
        wait_for(lambda: "10.77.4.77" not in addresses(env, "wan2"), "an address is still told", TELL_SECONDS)
        ip(env, "link", "set", "wan2", "down", side="server")
        expect_told(env, "no carrier", "wan2", up=True, running=False)
        ip(env, "link", "set", "wan2", "down")
        expect_told(env, "down", "wan2", up=False, running=False)
        ip(env, "link", "set", "wan2", "name", "wan3")
        expect_told(env, "renamed", "wan3", index=index)
        check(not told(env, "wan2"), "the old name is still told")
        ip(env, "link", "del", "wan3")
        wait_for(lambda: not told(env, "wan3"), "a link that is gone is told", TELL_SECONDS)


def defaults(env, family):
    """The default route moves, and policy routing has its say."""
    env.need_ctl()
    key = {"v4": "default4", "v6": "default6"}[family]
    expect_told(env, "none", "wan0", **{key: False})
    with contextlib.ExitStack() as undo:
        ip_route(env, family, "add", "default", "via", GATEWAY["wan0"][family])
        undo.callback(ip_route, env, family, "del", "default")
        expect_told(env, "added", "wan0", **{key: True})
        expect_told(env, "the other", "wan1", **{key: False})
        ip_route(env, family, "replace", "default", "via", GATEWAY["wan1"][family])
        expect_told(env, "moved", "wan1", **{key: True})
        expect_told(env, "moved", "wan0", **{key: False})
        rule = ("-6" if family == "v6" else "-4", "rule")
        ip_route(env, family, "add", "default", "via", GATEWAY["wan0"][family], "table", "78")
        undo.callback(ip_route, env, family, "flush", "table", "78")
        ip(env, *rule, "add", "pref", "700", "fwmark", "1514", "lookup", "78")
        undo.callback(ip, env, *rule, "del", "pref", "700")
        expect_told(env, "by the mark", "wan0", **{key: True})
    expect_told(env, "gone", "wan0", **{key: False})


# What flows stand on ----------------------------------------------------------------------------------

def closed(env, reason):
    """How many flows ended for this reason."""
    return int(re.search(rf'^seam_flows_closed_total{{reason="{reason}"}} (\d+)', env.daemon.ctl("metrics"), re.M)[1])


def reach(env, family, address, source):
    """Both ends of a flow to an address of the server, which must see this source."""
    listener = env.socket("server", family)
    listener.bind((address, 0))
    listener.listen()
    client = env.connect(listener.getsockname(), family)
    server = env.accept(listener)
    listener.close()
    ping_pong(client, server, 20, 100)
    check(server.getpeername()[0] == source, f"the server sees {server.getpeername()[0]}, not {source}")
    return client, server


class Bystander:
    """A flow by wan0 with bytes both ways for 1.4 s and more, every one of which must arrive."""

    def __init__(self, env, family):
        self.client, self.server = reach(env, family, SERVICE[family], WAN0[family])
        up, down = Stream(1, 2000000), Stream(2, 2000000)
        self.tasks = [env.spawn(send, self.client, up, slowly, False), env.spawn(receive, self.server, up, False),
                      env.spawn(send, self.server, down, slowly, False), env.spawn(receive, self.client, down, False)]

    def check(self):
        for task in self.tasks:
            task.result()
        ping_pong(self.client, self.server, 1)


def slowly(stream):
    for position in range(0, stream.size, 100000):
        time.sleep(0.07)
        yield min(100000, stream.size - position)


def by_wan2(env, family):
    """The clients of two flows by wan2: one is quiet, one receives without end."""
    quiet, _ = reach(env, family, BEHIND_WAN2[family], WAN2[family])
    busy, server = reach(env, family, BEHIND_WAN2[family], WAN2[family])
    env.spawn(send, server, Stream(3, 1 << 40))
    return [quiet, busy]


@contextlib.contextmanager
def ends(env, clients, reason):
    """What happens inside ends all of @clients by RST in time, for this reason, and no other flow."""
    before, started = closed(env, reason), time.monotonic()
    yield
    for client in clients:
        expect_reset(client, max(0.1, started + END_SECONDS - time.monotonic()))
    env.note(f"{reason} after {time.monotonic() - started:.2f} s")
    check(closed(env, reason) == before + len(clients), f"{closed(env, reason) - before} flows ended with {reason}")


def address_gone(env, family):
    """The other family's address stays, and so does what stands on it."""
    other = {"v4": "v6", "v6": "v4"}[family]
    with wan2(env):
        bystander = Bystander(env, family)
        neighbour = reach(env, other, BEHIND_WAN2[other], WAN2[other])
        with ends(env, by_wan2(env, family), "address-gone"):
            ip(env, "addr", "del", f"{WAN2[family]}/{24 if family == 'v4' else 64}", "dev", "wan2")
        bystander.check()
        ping_pong(*neighbour, 5)


def interface_gone(env, how, reason, bystanders=True):
    """Down or deleted, for flows of both families; an interface of the same name serves the next ones."""
    with wan2(env):
        others = [Bystander(env, family) for family in ("v4", "v6") if bystanders]
        with ends(env, by_wan2(env, "v4") + by_wan2(env, "v6"), reason):
            ip(env, "link", *how)
        for bystander in others:
            bystander.check()
    with wan2(env):
        by_wan2(env, "v4")


def many(env, count):
    """All at once."""
    with wan2(env):
        clients = [reach(env, "v4", BEHIND_WAN2["v4"], WAN2["v4"])[0] for _ in range(count)]
        with ends(env, clients, "address-gone"):
            ip(env, "addr", "del", f"{WAN2['v4']}/24", "dev", "wan2")


def down_for_a_while(env):
    """A flow that is not bound to the interface may wait for it: its IPv4 address stays."""
    with wan2(env):
        client, server = reach(env, "v4", BEHIND_WAN2["v4"], WAN2["v4"])
        ip(env, "link", "set", "wan2", "down")
        expect_told(env, "down", "wan2", up=False)
        client.sendall(b"wait for it")
        ip(env, "link", "set", "wan2", "up")
        check(server.recv(11) == b"wait for it", "got something else")
        ping_pong(client, server, 5)


def foreign_source(env, family):
    """The client's address never was on the router, which is no reason to end the flow."""
    env.need_ctl()
    pair = reach(env, family, SERVICE[family], CLIENT[family])
    with wan2(env):
        ping_pong(*pair, 1)
    wait_for(lambda: not told(env, "wan2"), "wan2 is still told")
    ping_pong(*pair, 5)


def while_dialing(env):
    """The flow that is being dialed when its interface goes ends as well, at the latest with its dial."""
    with wan2(env), env.lab.nft(server="tcp dport 9 drop"):
        client = env.connect((BEHIND_WAN2["v4"], 9))
        time.sleep(0.2)
        ip(env, "link", "del", "wan2")
        expect_reset(client, 2.5, drain=False)


# New ways ---------------------------------------------------------------------------------------------

@contextlib.contextmanager
def new_route(env, family, replace):
    """To the service by wan1: in place of that by wan0, or a better one beside it."""
    where, old = SERVICE[family], ("via", GATEWAY["wan0"][family], "dev", "wan0", "metric", "10")
    new = ("via", GATEWAY["wan1"][family], "dev", "wan1", "metric", "10" if replace else "5")
    ip_route(env, family, "replace", where, *new)
    try:
        yield
    finally:
        if not replace:
            ip_route(env, family, "del", where, *new)
        ip_route(env, family, "replace", where, *old)


def leaves_by(env, family, sources):
    """New connections come from the first of @sources in a second, and stay with it; never from a third."""
    deadline, seen = time.monotonic() + TELL_SECONDS, []
    while not seen or (seen[-1] != sources[0] and time.monotonic() < deadline):
        client, server = env.pair(family)
        ping_pong(client, server, 1)
        seen.append(server.getpeername()[0])
    for _ in range(4):
        client, server = env.pair(family)
        seen.append(server.getpeername()[0])
        check(seen[-1] == sources[0], f"the server saw {seen}")
    check(set(seen) <= set(sources), f"the server saw {seen}")


def new_way(env, family, replace):
    env.need_daemon()
    old = Bystander(env, family)
    with new_route(env, family, replace):
        leaves_by(env, family, (WAN1[family], WAN0[family]))
        old.check()
    leaves_by(env, family, (WAN0[family], WAN1[family]))


def main():
    suite = Suite()
    suite.add("loss/told/links", links, BY_ROUTE)
    for family in ("v4", "v6"):
        suite.add(f"loss/told/defaults/{family}", defaults, BY_ROUTE, family=family)
        suite.add(f"loss/address-gone/{family}", address_gone, BY_ROUTE, family=family)
        suite.add(f"loss/foreign-source/{family}", foreign_source, TRANSPARENT, family=family)
        for name, config in (("by-route", BY_ROUTE), ("auto-detect", AUTO), ("packet", PACKET)):
            suite.add(f"loss/new-way/{name}/{family}", new_way, config, family=family, replace=config is BY_ROUTE)
    for name, how in (("down", ("set", "wan2", "down")), ("deleted", ("del", "wan2"))):
        suite.add(f"loss/{name}/bound", interface_gone, BOUND, how=how, reason="interface-gone", bystanders=False)
        suite.add(f"loss/{name}/auto-detect", interface_gone, AUTO, how=how, reason="interface-gone")
    suite.add("loss/deleted/by-route", interface_gone, BY_ROUTE, how=("del", "wan2"), reason="address-gone")
    suite.add("loss/many", many, BY_ROUTE, count=300)
    suite.add("loss/down-for-a-while", down_for_a_while, BY_ROUTE)
    suite.add("loss/while-dialing", while_dialing, Config("copy", connect_timeout="2s",
                                                          outbound={"bind_interface": "wan2"}))
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
