#!/usr/bin/python3
"""Rules: which one decides about a connection, what sniffing and resolving tell it, and that nobody's bytes suffer.
Outbounds differ by their source address, so that the server sees what was decided."""
import contextlib
import dataclasses
import json
import pathlib
import random
import socket
import ssl
import sys
import tempfile
import time

from daemon import Config
from lab import ROUTER, SERVICE
from seamtest import FAMILIES, Suite
from streams import expect_end, expect_reset, expect_silence, ping_pong, reset_and_close
from test_names import ELSEWHERE
from test_options import mistake
from test_strategy import DELAY, TYPES, check_attempts, dead
from verdict import check, wait_for
from wire import WAN0, WAN1, Names, closed, forget, source_of

SOURCES = {"one": WAN0, "two": WAN1, "rest": ROUTER}
NEIGHBOUR = {"v4": "10.77.1.3", "v6": "fd77:1::3"}  # another client
PUBLIC = {"v4": "203.0.113.9", "v6": "2001:db8:9::9"}  # another address of the server, and its network at the router
SERVICES, NEIGHBOURS = list(SERVICE.values()), list(NEIGHBOUR.values())
TOS = {"v4": (socket.IPPROTO_IP, socket.IP_TOS), "v6": (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)}
GARBAGE = random.Random(7).randbytes(3000)
PORT = 7100  # of the first rule


def ways(rules, kind=Config, **more):
    """@rules: {name: rule}; what none of them decides about goes to "rest"."""
    outbounds = [{"type": "direct", "tag": tag, "routing_mark": 1514, "inet4_bind_address": source["v4"],
                  "inet6_bind_address": source["v6"]} for tag, source in SOURCES.items()]
    return kind(outbounds=outbounds, final="rest", dns=more.pop("dns", None),
                route={"rules": list(rules.values())} | more)


# Conditions -------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class TwoInbounds(Config):
    """Nothing comes in by the other one."""

    def text(self, control):
        config = json.loads(super().text(control))
        config["inbounds"].append(config["inbounds"][0] | {"tag": "other", "listen": "127.0.0.1", "listen_port": 12346})
        return json.dumps(config, indent=1)


HERE, THERE, PUBLICLY = {"to": SERVICE}, {"to": ELSEWHERE}, {"to": PUBLIC}
NEAR = {"source": NEIGHBOUR}
NETS = ["10.77.9.0/24", "fd77:9::/64"]
# Name: condition, connections that it fits, connections that it does not. Each has a port of its own.
CONDITIONS = {
    "ip-cidr": ({"ip_cidr": NETS}, [HERE], [THERE]),
    "ip-cidr-bare": ({"ip_cidr": SERVICES}, [HERE], [THERE]),
    "source-ip-cidr": ({"source_ip_cidr": NEIGHBOURS}, [NEAR], [{}]),
    "source-port": ({"source_port": [50001, 50003]}, [{"sport": 50003}], [{"sport": 50002}]),
    "source-port-range": ({"source_port_range": "50010:50012"}, [{"sport": 50010}, {"sport": 50012}],
                          [{"sport": 50009}, {"sport": 50013}]),
    "network-tcp": ({"network": "tcp"}, [{}], []),
    "network-udp": ({"network": "udp"}, [], [{}]),
    "inbound": ({"inbound": "in"}, [{}], []),
    "inbound-other": ({"inbound": "other"}, [], [{}]),
    "invert": ({"ip_cidr": NETS, "invert": True}, [THERE], [HERE]),
    "invert-and": ({"ip_cidr": NETS, "source_ip_cidr": NEIGHBOURS, "invert": True}, [THERE, HERE, THERE | NEAR],
                   [HERE | NEAR]),
    "and": ({"type": "logical", "mode": "and", "rules": [{"ip_cidr": NETS}, {"source_ip_cidr": NEIGHBOURS}]},
            [HERE | NEAR], [HERE, THERE | NEAR, THERE]),
    "or": ({"type": "logical", "mode": "or", "rules": [{"ip_cidr": NETS}, {"source_ip_cidr": NEIGHBOURS}]},
           [HERE | NEAR, HERE, THERE | NEAR], [THERE]),
    "or-invert": ({"type": "logical", "mode": "or", "invert": True,
                   "rules": [{"ip_cidr": NETS}, {"source_ip_cidr": NEIGHBOURS}]}, [THERE], [HERE, THERE | NEAR]),
    "ip-is-private": ({"ip_is_private": True}, [HERE], [PUBLICLY]),
    "rule-set": ({"rule_set": "nets"}, [HERE], [THERE]),
    "interface": ({"interface": ["wan0", "lan0"]}, [{}], []),
    "interface-other": ({"interface": "wan0"}, [], [{}]),
    "dscp": ({"dscp": [10, 46]}, [{"tos": 46 << 2}, {"tos": 10 << 2 | 1}], [{}, {"tos": 10}]),
}
PORT_RULES = {
    "port": {"port": [7001, 7003], "outbound": "two"},
    "port-range": {"port_range": ["7010:7012", ":7000"], "port": 7020, "outbound": "two"},
    "first": {"port": 7030, "ip_cidr": SERVICES, "outbound": "one"},
    "second": {"port": 7030, "outbound": "two"},
    "options": {"port": 7031, "action": "route-options", "fallback_delay": "1s"},
    "third": {"port_range": "7031:7032", "outbound": "one"},
}
PORTS = {7000: "port-range", 7001: "port", 7002: None, 7003: "port", 7009: None, 7010: "port-range", 7011: "port-range",
         7012: "port-range", 7013: None, 7020: "port-range", 7030: "first", 7031: "third"}


def rules_of_conditions():
    """Logical, so that an inverted condition keeps to its port."""
    rules = {name: {"type": "logical", "mode": "and", "rules": [{"port": PORT + number}, condition], "outbound": "two"}
             for number, (name, (condition, _, _)) in enumerate(CONDITIONS.items())}
    return rules | PORT_RULES


@contextlib.contextmanager
def more_addresses(env):
    """NEIGHBOUR at the client and PUBLIC at the server."""
    added = [("client", f"addr add {address}/{bits} dev lan0{nodad}")
             for address, bits, nodad in zip(NEIGHBOURS, (24, 64), ("", " nodad preferred_lft 0"))]
    for family, via in (("v4", "10.77.2.2"), ("v6", "fd77:2::2")):
        added += [("server", f"addr add {PUBLIC[family]} dev lo"), ("router", f"route add {PUBLIC[family]} via {via}")]
    try:
        for side, words in added:
            env.lab.run(side, "ip", *words.split())
        yield
        env.daemon.wait_idle()  # the last segments need the addresses, too
    finally:
        for side, words in added:
            env.lab.run(side, "ip", *words.replace(" add ", " del ").partition(" nodad")[0].split())


def listen_at(env, family, port, to=None):
    listener = env.socket("server", family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(((to or SERVICE)[family], port))
    listener.listen(1024)
    return listener


def call(env, family, port, to=None, source=None, sport=0, tos=None):
    client = env.socket("client", family)
    if tos is not None:
        client.setsockopt(*TOS[family], tos)
    if source or sport:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(((source or {"v4": "", "v6": "::"})[family], sport))
    client.connect(((to or SERVICE)[family], port))
    return client


def check_way(env, client, server, outbound, rule=-1, **facts):
    """The server's view, and the flow's; @rule: its index, -1: route.final."""
    family = "v6" if server.family == socket.AF_INET6 else "v4"
    check(source_of(server) == SOURCES[outbound][family], f"the server sees {source_of(server)}, not {outbound}")
    flow = env.daemon.flow_of(client)
    for key, value in ({"outbound": outbound, "rule": rule} | facts).items():
        check(flow[key] == value, f"{key} is {flow[key]!r}, not {value!r}")


def check_rule(env, family, port, rule, **how):
    """@rule: its name, None: route.final."""
    rules = env.daemon.config.route["rules"]
    listener = listen_at(env, family, port, how.get("to"))
    client = call(env, family, port, **how)
    server = env.accept(listener)
    listener.close()
    ping_pong(client, server, 1)
    index = list(rules_of_conditions()).index(rule) if rule else -1
    try:
        check_way(env, client, server, rules[index]["outbound"] if rule else "rest", index, protocol="", domain="")
    finally:
        client.close()
        server.close()


def condition(env, which, family):
    env.need_ctl()
    _, fits, others = CONDITIONS[which]
    port = PORT + list(CONDITIONS).index(which)
    with more_addresses(env):
        for how, rule in [(how, which) for how in fits] + [(how, None) for how in others]:
            check_rule(env, family, port, rule, **how)


def ports(env, family):
    """Also: the first that fits decides, and options do not end the search."""
    env.need_ctl()
    for port, rule in PORTS.items():
        check_rule(env, family, port, rule)
    check_rule(env, family, 7030, "second", to=ELSEWHERE)


def hello(name):
    """A TLS client's first flight."""
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def request(name):
    return f"GET / HTTP/1.1\r\nUser-Agent: t\r\nHost: {name}\r\n\r\n".encode()


def receive_bytes(conn, length):
    """Less at the end only. MSG_WAITALL does not wait with a timeout."""
    got = bytearray()
    while len(got) < length and (data := conn.recv(length - len(got))):
        got += data
    return bytes(got)


def take(server, data):
    got = receive_bytes(server, len(data))
    check(got == data, f"{len(got)} bytes, {got[:40]!r}, in place of {len(data)}, {data[:40]!r}")


# Destinations -----------------------------------------------------------------------------------------

CHANGE_RULES = {
    "port": {"port": 7301, "action": "route-options", "override_port": 7401},
    "address": {"port": 7302, "action": "route-options", "override_address": SERVICE["v4"]},
    "name": {"port": 7303, "outbound": "two", "override_address": "v6.test", "override_port": 7403},
    "sniff": {"port_range": "7304:7309", "action": "sniff", "override_destination": True},
    "resolve": {"port_range": "7305:7309", "action": "resolve", "server": "second"},
    "resolved": {"port": 7305, "ip_cidr": NETS, "outbound": "two"},
    "only": {"port": 7306, "domain": "only.test", "outbound": "one"},
    "http": {"port": 7310, "action": "sniff", "sniffer": ["http", "ssh"], "timeout": "60ms"},
}
CHANGE_DNS = {"servers": [{"type": "udp", "tag": "first", "server": SERVICE["v4"], "detour": "one"},
                          {"type": "udp", "tag": "second", "server": SERVICE["v6"], "detour": "one"}], "final": "first"}
ZONE = {"v4.test": {"A": [SERVICE["v4"]]}, "v6.test": {"AAAA": [SERVICE["v6"]]}, "none.test": {},
        "only.test": {"A": [SERVICE["v4"]], "AAAA": [SERVICE["v6"]]}}


def name_servers(env):
    servers = [Names(env, family, []) for family in ("v4", "v6")]
    for server in servers:
        server.zone.update(ZONE)
    return servers


def changed(env, family, port, at, by, data=b"", rule=None):
    """The client calls @port where nobody is, and gets to @at, (family, port), by the outbound @by."""
    env.need_ctl()
    listener = listen_at(env, at[0], at[1])
    client = call(env, family, port, ELSEWHERE)
    client.sendall(data)
    server = env.accept(listener)
    listener.close()
    take(server, data)
    ping_pong(client, server, 1)
    check_way(env, client, server, by, list(CHANGE_RULES).index(rule) if rule else -1)
    check(client.getpeername()[0] == ELSEWHERE[family], "the client sees another address")


def override(env, family):
    """By options of the rules, and by what was sniffed."""
    forget(env)
    first, second = name_servers(env)
    for other in ("v4", "v6"):
        for data in (hello(f"{other}.test"), request(f"{other}.test")):
            changed(env, family, 7304, (other, 7304), "rest", data)
    changed(env, family, 7302, ("v4", 7302), "rest")
    changed(env, family, 7303, ("v6", 7403), "two", rule="name")
    check(first.questions and not second.questions, f"the second name server was asked {second.questions}")


def override_port(env, family):
    env.need_ctl()
    listener = listen_at(env, family, 7401, ELSEWHERE)
    client = call(env, family, 7301, ELSEWHERE)
    server = env.accept(listener)
    ping_pong(client, server, 1)
    check_way(env, client, server, "rest")


def nameless(env, family):
    """Without a name the address stays, and nobody is asked."""
    env.need_ctl()
    servers = name_servers(env)
    listener = listen_at(env, family, 7305)
    client = call(env, family, 7305)
    client.sendall(GARBAGE)
    server = env.accept(listener)
    take(server, GARBAGE)
    check_way(env, client, server, "two", list(CHANGE_RULES).index("resolved"))
    check(not any(server.questions for server in servers), "a name server was asked")


def resolve(env, family):
    """The server that the rule names is asked, once; what it says decides, and is dialed."""
    forget(env)
    first, second = name_servers(env)
    for other in ("v4", "v6"):
        changed(env, family, 7305, (other, 7305), "two", hello(f"{other}.test"), "resolved")
    changed(env, family, 7306, ("v4", 7306), "one", request("only.test"), "only")
    check(not first.questions, f"the first name server was asked {first.questions}")
    for name in ("v4.test", "v6.test", "only.test"):
        check(len(second.asked(name, "A")) == len(second.asked(name, "AAAA")) == 1, f"{name}: {second.asked(name)}")


def fin_behind(env, family):
    """The client has ended behind its request, while the name is looked up."""
    forget(env)
    _, second = name_servers(env)
    second.zone["late.test"] = ZONE["only.test"] | {"delay": 0.2}
    listener = listen_at(env, "v4", 7307)
    client = call(env, family, 7307, ELSEWHERE)
    client.sendall(request("late.test"))
    client.shutdown(socket.SHUT_WR)
    server = env.accept(listener)
    take(server, request("late.test"))
    expect_end(server)
    server.sendall(b"answer")
    server.close()
    take(client, b"answer")
    expect_end(client)


def unresolved(env, family):
    """A name without addresses, or one that is not there: RST, and one line says so."""
    forget(env)
    name_servers(env)
    listener = env.listen(family)
    for name in ("none.test", "nxdomain.test"):
        before, lines = closed(env, "unresolved"), len(env.daemon.log_lines())
        client = call(env, family, 7307)
        client.sendall(request(name))
        expect_reset(client, 2, drain=False)
        wait_for(lambda: closed(env, "unresolved") > before, "no flow ended with unresolved")
        check(any("unresolved" in line for line in env.daemon.log_lines()[lines:]), "no line about it")
    expect_silence(listener, 0)


def silent_server(env):
    """Who leaves while a rule's name is looked up leaves nothing behind."""
    forget(env)
    _, second = name_servers(env)
    second.zone["slow.test"] = {"silent": True}
    files, before = env.daemon.fds(), closed(env, "client-reset")
    for family in ("v4", "v6"):
        client = call(env, family, 7307)
        client.sendall(request("slow.test"))
        wait_for(lambda: second.asked("slow.test"), "no question")
        reset_and_close(client)
        env.daemon.wait_idle(1)
        second.clear()
    check(closed(env, "client-reset") - before == 2, "not ended as client-reset")
    check(env.daemon.fds() <= files + 4, f"{env.daemon.fds()} files, before {files}")


def sniff_options(env, family):
    """One looks for some protocols only, and not for long."""
    env.need_ctl()
    tells = {"protocol": "http", "domain": "v4.test"}
    for data, facts, between in ((request("v4.test"), tells, (0, 0.05)), (hello("v4.test"), {}, (0, 0.05)),
                                 (b"", {}, (0.04, 0.2))):
        listener = listen_at(env, family, 7310)
        client, started = call(env, family, 7310), time.monotonic()
        client.sendall(data)
        server = env.accept(listener)
        took = time.monotonic() - started
        check(between[0] <= took <= between[1], f"dialed after {took:.2f} s, not {between}")
        take(server, data)
        check_way(env, client, server, "rest", **({"protocol": "", "domain": ""} | facts))
        listener.close()


# Strategies -------------------------------------------------------------------------------------------

STRATEGY = Config(interfaces=TYPES, route={"rules": [
    {"port": 7501, "action": "route-options", "network_strategy": "fallback", "fallback_delay": f"{DELAY}ms"},
    {"port": 7502, "network_strategy": "fallback", "fallback_delay": "0ms", "outbound": "direct"}]})


def strategy(env, family, port, expected):
    """A rule gives the direct outbound what it has not: another way than the one of the routes."""
    forget(env)  # which uplink was better
    with dead(env, "wan0"):
        listener = listen_at(env, family, port)
        client = call(env, family, port)
        server = env.accept(listener)
        ping_pong(client, server, 1)
        check(source_of(server) == WAN1[family], f"the server sees {source_of(server)}")
        check_attempts(env.daemon.flow_of(client)["attempts"], *expected)


# Sizes ------------------------------------------------------------------------------------------------

def big():
    rules = [{"domain_suffix": [f"d{rule}-{number}.example" for number in range(10)],
              "outbound": ("one", "two")[rule % 2]} for rule in range(9999)]
    return ways(dict(enumerate([{"action": "sniff"}] + rules)))


def many_rules(env, rules):
    """10 000 rules with 100 000 names are there soon, and decide soon."""
    env.need_ctl()
    env.daemon.stop()
    started = time.monotonic()
    env.daemon.use(rules)
    took = time.monotonic() - started
    env.note(f"ready after {took:.1f} s")
    check(took < 5, f"ready after {took:.1f} s")
    for rule in (0, 1, 5000, 9998):
        for family in ("v4", "v6"):
            listener = env.listen(family)
            client = env.connect(listener.getsockname(), family)
            started = time.monotonic()
            client.sendall(hello(f"www.d{rule}-9.example"))
            server = env.accept(listener)
            check(time.monotonic() - started < 0.1, "the decision took long")
            check_way(env, client, server, ("one", "two")[rule % 2], rule + 1, domain=f"www.d{rule}-9.example")


def cases_of_conditions(suite, folder):
    path, bad = pathlib.Path(folder, "nets.json"), pathlib.Path(folder, "bad.json")
    path.write_text(json.dumps({"version": 1, "rules": [{"ip_cidr": "10.0.0.1"}, {"ip_cidr": NETS}]}), encoding="utf-8")
    config = ways(rules_of_conditions(), TwoInbounds, rule_set=[{"tag": "nets", "path": str(path)}])
    for family in FAMILIES:
        for name in CONDITIONS:
            suite.add(f"routing/{name}/{family}", condition, config, which=name, family=family)
        suite.add(f"routing/ports/{family}", ports, config, family=family)
    bad.write_text('{\n"version": 1,\n"rules": [\n{"ip_cidr": "10.0.0.0/33"},\n{"domian": "x"}\n]\n}\n',
                   encoding="utf-8")
    for name, path, words in (("set", bad, (f"{bad}:4:", "/rules/0/ip_cidr", f"{bad}:5:", "domian", "domain")),
                              ("no-file", f"{folder}/none.json", ("/route/rule_set/0/path", "No such file"))):
        wrong = ways({"set": {"rule_set": "bad", "outbound": "one"}}, rule_set=[{"tag": "bad", "path": str(path)}])
        suite.add(f"routing/mistake/{name}", mistake, config, wrong=wrong, words=words)


def cases_of_destinations(suite):
    config = ways(CHANGE_RULES, dns=CHANGE_DNS)
    for name, func in (("override", override), ("override-port", override_port), ("nameless", nameless),
                       ("resolve", resolve), ("resolve/fin-behind", fin_behind), ("unresolved", unresolved),
                       ("sniff-options", sniff_options)):
        for family in FAMILIES:
            suite.add(f"routing/{name}/{family}", func, config, family=family)
    suite.add("routing/resolve/silent-server", silent_server, config)
    suite.add("routing/many-rules", many_rules, config, rules=big())


def cases_of_strategies(suite):
    for family in FAMILIES:
        for port, expected in ((7501, [("wan0", 0), ("wan1", DELAY)]), (7502, [("wan0", 0), ("wan1", 0)])):
            suite.add(f"routing/strategy/{family}/{port}", strategy, STRATEGY, family=family, port=port,
                      expected=expected)


def main():
    suite = Suite()
    with tempfile.TemporaryDirectory(prefix="seamtest-") as folder:
        cases_of_conditions(suite, folder)
        cases_of_destinations(suite)
        cases_of_strategies(suite)
        return suite.run()


if __name__ == "__main__":
    sys.exit(main())
