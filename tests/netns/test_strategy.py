#!/usr/bin/python3
"""Network strategies: which uplink carries a connection, which ones were tried and when, what is learned of it; and
the list of interfaces that this rests on. The router reaches the service by wan0 (metric 10) and wan1 (metric 20)."""
import contextlib
import json
import socket
import sys
import time

from daemon import Config
from seamtest import Suite
from streams import expect_reset
from verdict import check, wait_for

UPLINKS = ("wan0", "wan1")
SOURCE = {"v4": {"10.77.2.1": "wan0", "10.77.3.1": "wan1"}, "v6": {"fd77:2::1": "wan0", "fd77:3::1": "wan1"}}
DELAY, TIMEOUT, MEMORY = 300, 2000, 15  # fallback_delay and connect_timeout in ms, FAST_FALLBACK_MS in s
SLACK = 200  # ms that a busy machine may take
TYPES = [{"name": "wan0", "type": "ethernet"}, {"name": "wan1", "type": "cellular"}]


def strategy(kind, **options):
    direct = {"type": "direct", "tag": "direct", "routing_mark": 1514, "network_strategy": kind,
              "connect_timeout": f"{TIMEOUT}ms"}
    if kind == "fallback":
        direct["fallback_delay"] = f"{DELAY}ms"
    return Config(outbounds=[direct | options], interfaces=TYPES)


# What happens to what comes by an uplink --------------------------------------------------------------

def dead(env, uplink):
    return env.lab.nft(server=f'iifname "{uplink}" meta l4proto tcp drop')


def refused(env, uplink):
    return env.lab.nft(server=f'iifname "{uplink}" meta l4proto tcp reject with tcp reset')


def slow(env, uplink):
    """Every second SYN passes: the first one comes again after a second."""
    return env.lab.nft(server=f'iifname "{uplink}" tcp flags & (syn | ack) == syn numgen inc mod 2 == 0 drop')


def up(*_):
    return contextlib.nullcontext()


@contextlib.contextmanager
def unplugged(env, uplink, number):
    """The router's end has no carrier. The server's end loses what hangs on it, which must be put back."""
    env.lab.run("server", "ip", "link", "set", uplink, "down")
    try:
        yield
    finally:
        env.lab.run("server", "ip", "-batch", "-", stdin=f"""link set {uplink} up
addr replace fd77:{number}::2/64 dev {uplink} nodad
route replace 10.77.1.0/24 via 10.77.{number}.1 metric 10
route replace fd77:1::/64 via fd77:{number}::1 metric 10
""")
        wait_for(lambda: interfaces(env)[uplink]["running"], f"{uplink} does not come back")


# Dialing ----------------------------------------------------------------------------------------------

class Watch:
    """`flows watch`, asked for without seamctl: its answer says when it has begun."""

    def __init__(self, env):
        env.need_ctl()
        sock = socket.socket(socket.AF_UNIX)
        env.open.append(sock)
        sock.settimeout(10)
        sock.connect(env.daemon.socket)
        self.lines = sock.makefile("r", encoding="utf-8")
        sock.sendall(b'{"v":1,"cmd":"flows watch"}\n')
        answer = json.loads(self.lines.readline())
        check(answer["ok"], f"flows watch: {answer}")

    def event(self, client):
        """The first one of this client's flow."""
        suffix = f":{client.getsockname()[1]}"
        while line := self.lines.readline():
            event = json.loads(line)
            if str(event.get("source")).endswith(suffix):
                return event
        return check(False, "the watch ended")


def dial(env, watch, family):
    """The uplink that carries a new connection, and what was tried. The server also sees those who lost the race."""
    listener, uplink = env.listen(family), None
    client = env.connect(listener.getsockname(), family)
    client.sendall(b"hello")
    while not uplink:
        server = env.accept(listener)
        with contextlib.suppress(ConnectionResetError):
            if server.recv(100) == b"hello":
                uplink = SOURCE[family][server.getpeername()[0]]
    listener.close()
    return uplink, watch.event(client).get("attempts", [])


def fail(env, watch, family, latest):
    """A dial that comes to nothing, after at most @latest ms: what was tried."""
    listener = env.listen(family)
    started = time.monotonic()
    client = env.socket("client", family)
    with contextlib.suppress(ConnectionResetError):  # the RST may come before connect() has returned
        client.connect(listener.getsockname()[:2])
        expect_reset(client, (latest + 5 * SLACK) / 1000, drain=False)
    took = 1000 * (time.monotonic() - started)
    check(took < latest + SLACK, f"RST after {took:.0f} ms, not {latest}")
    return watch.event(client).get("attempts", [])


def check_attempts(attempts, *expected):
    """@expected: (uplink, ms after the dial's begin), in this order; those that begin together in any."""
    told = [(attempt["interface"], attempt["start_ms"]) for attempt in attempts]
    check(len(told) == len(expected), f"tried {told}, not {expected}")
    for (uplink, start), (wanted, ms) in zip(sorted(told, key=lambda pair: (pair[1] > SLACK, pair)), expected):
        check(uplink == wanted and ms - 5 <= start <= ms + SLACK, f"tried {told}, not {expected}")


def check_winner(attempts, winner):
    connected = [attempt["interface"] for attempt in attempts if attempt["result"] == "connected"]
    check(connected == ([winner] if winner else []), f"{connected} connected, not {winner}: {attempts}")


def expect_dial(env, watch, family, winner, *expected):
    """@winner None: whichever."""
    uplink, attempts = dial(env, watch, family)
    check(winner in (None, uplink), f"{uplink} carries it, not {winner}: {attempts}")
    check_attempts(attempts, *expected)
    check_winner(attempts, uplink)
    return attempts


def expect_failure(env, watch, family, latest, *expected):
    attempts = fail(env, watch, family, latest)
    check_attempts(attempts, *expected)
    check_winner(attempts, None)


def calm(env, watch, family):
    """A primary wins for want of a rival, and whatever an earlier case has taught is forgotten."""
    with dead(env, "wan1"):
        check(dial(env, watch, family)[0] == "wan0", "wan1 is dead and wins")


# The matrix -------------------------------------------------------------------------------------------

def default(env, family, fate):
    """One uplink, the one of the routes, for better or worse."""
    watch = Watch(env)
    with fate(env, "wan0"):
        if fate is dead:
            expect_failure(env, watch, family, TIMEOUT, ("wan0", 0))
        else:
            attempts = expect_dial(env, watch, family, "wan0", ("wan0", 0))
            check((attempts[0]["took_ms"] > 900) == (fate is slow), f"{fate.__name__}: {attempts}")
    expect_dial(env, watch, family, "wan0", ("wan0", 0))


def hybrid(env, family, fate):
    """All at once; when the first uplink is back, it is as good as any."""
    watch, both = Watch(env), (("wan0", 0), ("wan1", 0))
    with fate(env, "wan0"):
        expect_dial(env, watch, family, None if fate is up else "wan1", *both)
    expect_dial(env, watch, family, None, *both)
    with dead(env, "wan1"):
        expect_dial(env, watch, family, "wan0", *both)


def fallback(env, family, fate):
    """The second uplink waits, but not for one that has failed; then it has the same chance for a while; until the
    first one is back."""
    watch, later = Watch(env), 0 if fate is refused else DELAY
    calm(env, watch, family)
    if fate is up:
        expect_dial(env, watch, family, "wan0", ("wan0", 0))
        return
    with fate(env, "wan0"):
        expect_dial(env, watch, family, "wan1", ("wan0", 0), ("wan1", later))
    with dead(env, "wan0"):
        expect_dial(env, watch, family, "wan1", ("wan0", 0), ("wan1", 0))
    with dead(env, "wan1"):
        expect_dial(env, watch, family, "wan0", ("wan0", 0), ("wan1", 0))
    expect_dial(env, watch, family, "wan0", ("wan0", 0))


def memory(env):
    """15 s after the fallback's win the first uplink is ahead again, whoever won meanwhile; for both families."""
    watch, together = Watch(env), (("wan0", 0), ("wan1", 0))
    calm(env, watch, "v4")
    with dead(env, "wan0"):
        expect_dial(env, watch, "v4", "wan1", ("wan0", 0), ("wan1", DELAY))
        end = time.monotonic() + MEMORY
        expect_dial(env, watch, "v6", "wan1", *together)
        time.sleep(end - 1 - time.monotonic())
        expect_dial(env, watch, "v4", "wan1", *together)
        time.sleep(end + 0.1 - time.monotonic())
        expect_dial(env, watch, "v4", "wan1", ("wan0", 0), ("wan1", DELAY))


def nobody_left(env, family):
    """Both uplinks are dead: the first one's error, after its time."""
    watch = Watch(env)
    calm(env, watch, family)
    with env.lab.nft(server="iifname { wan0, wan1 } meta l4proto tcp drop"):
        expect_failure(env, watch, family, DELAY + TIMEOUT, ("wan0", 0), ("wan1", DELAY))


# Types ------------------------------------------------------------------------------------------------

def only_type(env, family, uplink):
    """The other one is not there for it, dead or alive."""
    watch = Watch(env)
    expect_dial(env, watch, family, uplink, (uplink, 0))
    with dead(env, uplink):
        expect_failure(env, watch, family, TIMEOUT, (uplink, 0))


def turned_round(env, family):
    """The types make wan1 the first and wan0 the second."""
    watch = Watch(env)
    with dead(env, "wan0"):
        check(dial(env, watch, family)[0] == "wan1", "wan0 is dead and wins")
    expect_dial(env, watch, family, "wan1", ("wan1", 0))
    with dead(env, "wan1"):
        expect_dial(env, watch, family, "wan0", ("wan1", 0), ("wan0", DELAY))


def no_primary(env, family):
    expect_dial(env, Watch(env), family, "wan1", ("wan1", 0))


def no_uplink(env, family):
    expect_failure(env, Watch(env), family, SLACK)


def pulled_cable(env):
    """The routes still lead to wan0; what has no carrier has no say."""
    watch = Watch(env)
    with unplugged(env, "wan0", 2):
        soon(env, lambda now: not now["wan0"]["running"], "wan0 is said to run")
        time.sleep(0.1)  # the workers hear of it last
        expect_dial(env, watch, "v4", "wan1", ("wan1", 0))
    time.sleep(0.1)
    expect_dial(env, watch, "v4", "wan0", ("wan0", 0))


# The list ---------------------------------------------------------------------------------------------

def interfaces(env):
    return {interface["name"]: interface for interface in json.loads(env.daemon.ctl("-j", "interfaces"))}


def by_kernel(env):
    links = json.loads(env.lab.run("router", "ip", "-j", "-d", "addr"))
    return {link["ifname"]: link for link in sorted(links, key=lambda link: link["ifindex"])}


def check_like_kernel(told, link):
    flags = link["flags"]
    addresses = sorted(f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"])
    pairs = {"index": link["ifindex"], "mtu": link["mtu"], "up": "UP" in flags,
             "kind": link.get("linkinfo", {}).get("info_kind", "")}
    if "UP" in flags:
        pairs["running"] = "NO-CARRIER" not in flags
    for name, value in pairs.items():
        check(told[name] == value, f"{told['name']}: {name} is {told[name]}, the kernel says {value}")
    check(sorted(told["addresses"]) == addresses, f"{told['name']}: {told['addresses']}, the kernel says {addresses}")


def listed(env):
    env.need_ctl()
    told, links = interfaces(env), by_kernel(env)
    check(list(told) == list(links), f"{list(told)}, the kernel says {list(links)}")
    for name, link in links.items():
        check_like_kernel(told[name], link)
    check([told[name]["type"] for name in UPLINKS] == ["ethernet", "cellular"], f"types {told}")
    lines = env.daemon.ctl("interfaces").splitlines()
    check(lines[0].split() == ["NAME", "INDEX", "TYPE", "STATE", "MTU", "DEFAULT", "ADDRESSES"], lines[0])
    check([line.split()[0] for line in lines[1:]] == list(links), "the table has other names")


def soon(env, condition, why):
    """Changes are told within a second."""
    wait_for(lambda: condition(interfaces(env)), why, 1, 0.05)


def links_change(env):
    def router(*words):
        env.lab.run("router", "ip", *words)

    env.need_ctl()
    router("link", "add", "new0", "type", "veth", "peer", "name", "new1")
    try:
        soon(env, lambda now: "new0" in now and not now["new0"]["up"], "new0 does not appear")
        router("link", "set", "new0", "up")
        soon(env, lambda now: now["new0"]["up"] and not now["new0"]["running"], "new0 is not up without a carrier")
        router("link", "set", "new1", "up")
        soon(env, lambda now: now["new0"]["running"], "new0 does not run")
        router("link", "set", "new0", "mtu", "1300")
        soon(env, lambda now: now["new0"]["mtu"] == 1300, "the MTU does not change")
        for address in ("10.77.5.1/28", "fd77:5::1/96"):
            router("addr", "add", address, "dev", "new0", *(("nodad",) if ":" in address else ()))
            soon(env, lambda now, text=address: text in now["new0"]["addresses"], f"{address} does not appear")
            router("addr", "del", address, "dev", "new0")
            soon(env, lambda now, text=address: text not in now["new0"]["addresses"], f"{address} stays")
        check_like_kernel(interfaces(env)["new0"], by_kernel(env)["new0"])
    finally:
        router("link", "del", "new0")
    soon(env, lambda now: "new0" not in now and "new1" not in now, "new0 stays")


def default_route(env, family):
    env.need_ctl()
    name, number = ("default4", "-4") if family == "v4" else ("default6", "-6")
    check(not any(interface[name] for interface in interfaces(env).values()), f"{name} without a default route")
    for uplink in UPLINKS:
        gateway = {"v4": f"10.77.{2 + int(uplink[-1])}.2", "v6": f"fd77:{2 + int(uplink[-1])}::2"}[family]
        env.lab.run("router", "ip", number, "route", "add", "default", "via", gateway)
        try:
            soon(env, lambda now, wanted=uplink: [i for i in now if now[i][name]] == [wanted],
                 f"{name} of {uplink} does not appear")
        finally:
            env.lab.run("router", "ip", number, "route", "del", "default", "via", gateway)
    soon(env, lambda now: not any(interface[name] for interface in now.values()), f"{name} stays")


MATRIX = {
    "default": (default, (up, dead, slow)),
    "hybrid": (hybrid, (up, dead, refused, slow)),
    "fallback": (fallback, (up, dead, refused, slow)),
}


def main():
    suite = Suite()
    for kind, (func, fates) in MATRIX.items():
        for family in ("v4", "v6"):
            for fate in fates:
                suite.add(f"strategy/{kind}/{family}/{fate.__name__}", func, strategy(kind), family=family, fate=fate)
    suite.add("strategy/fallback/memory", memory, strategy("fallback"), 40)
    suite.add("strategy/default/pulled-cable", pulled_cable, strategy("default"))
    suite.add("strategy/interfaces/list", listed, strategy("default"))
    suite.add("strategy/interfaces/changes", links_change, strategy("default"))
    for family in ("v4", "v6"):
        suite.add(f"strategy/interfaces/default-route/{family}", default_route, strategy("default"), family=family)
    turned = strategy("fallback", network_type=["cellular"], fallback_network_type=["ethernet"])
    suite.add("strategy/types/fallback/v4", turned_round, turned, family="v4")
    suite.add("strategy/types/fallback/v6", turned_round, turned, family="v6")
    suite.add("strategy/types/default/v6", only_type, strategy("default", network_type=["cellular"]), family="v6",
              uplink="wan1")
    suite.add("strategy/types/hybrid/v4", only_type, strategy("hybrid", network_type=["ethernet", "wifi"]),
              family="v4", uplink="wan0")
    suite.add("strategy/types/no-primary/v4", no_primary,
              strategy("fallback", network_type=["wifi"], fallback_network_type=["cellular"]), family="v4")
    suite.add("strategy/types/no-uplink/v4", no_uplink, strategy("hybrid", network_type=["wifi"]), family="v4")
    suite.add("strategy/nobody-left/v4", nobody_left, strategy("fallback"), family="v4")
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
