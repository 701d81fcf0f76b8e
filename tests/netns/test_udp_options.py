#!/usr/bin/python3
"""The dialer options for UDP sessions, as the server and the wire see them: as who they leave, where, in how many
packets."""
import sys
import tempfile
import time

from datagrams import (ELSEWHERE, UdpConfig, address_of, client_of, datagram, exchange, restart, server_of, silent,
                       take)
from lab import SERVICE
from seamtest import FAMILIES, Suite
from test_options import CLIENT, IP, MARK, PROTECT_MARK, elsewhere, policy, protecting
from verdict import check
from wire import NAME, WAN0, WAN1, Capture, Names, counting


def direct(**option):
    return UdpConfig(outbound=option)


def mark(env, family):
    to = f"{IP[family]} daddr {SERVICE[family]} meta l4proto udp"
    with counting(env, marked=f"meta mark {MARK} {to}", other=f"meta mark != {MARK} {to}") as packets:
        env.need_daemon()
        client, server = client_of(env, family), server_of(env, family)
        for _ in range(3):
            exchange(client, server)
        check(packets("marked") == 3 and not packets("other"), f"{packets('other')} packets without the mark")


def leaves(env, family, source, interface):
    env.need_daemon()
    to = f"{IP[family]} daddr {SERVICE[family]} meta l4proto udp"
    with counting(env, sent=f"oifname {interface} {to}", all=to) as packets:
        client, server = client_of(env, family), server_of(env, family)
        peer = exchange(client, server)
        check(peer[0] == source, f"the server sees {peer}")
        check(packets("sent") == packets("all") == 1, f"{packets('all')} packets, {packets('sent')} by {interface}")


def transparent(env, family, port):
    """The server sees the client."""
    env.need_daemon()
    client, server = client_of(env, family), server_of(env, family)
    other = server_of(env, family, address=ELSEWHERE[family])
    for one in (server, other, server):
        peer = exchange(client, one)
        check(peer[0] == CLIENT[family], f"the server sees {peer}")
        check(not port or peer[1] == address_of(client)[1], f"the server sees port {peer[1]}")
    second = client_of(env, family)
    exchange(second, server)
    exchange(client, server)


def netns(env, family):
    env.need_daemon()
    with elsewhere(env) as name:
        env.daemon.use(direct(netns=name))
        client, server = client_of(env, family), server_of(env, family)
        peer = exchange(client, server)
        check(peer[0] == {"v4": "10.77.4.1", "v6": "fd77:4::1"}[family], f"the server sees {peer}")
        env.daemon.stop()


def fragment(env, family, allowed):
    """A datagram longer than the way's MTU leaves in pieces, or not; short ones tell DF."""
    env.need_daemon()
    client, server = client_of(env, family), server_of(env, family)
    exchange(client, server)
    capture = Capture(env, "wan0", address_of(server)[1])
    client.sendto(datagram(1, 1400), address_of(server))
    take(server, datagram(1, 1400))
    check(family == "v6" or allowed or all(packet.df for packet in capture.packets()), f"sent {capture.seen}")
    client.sendto(datagram(2, 4000), address_of(server))
    if allowed:
        take(server, datagram(2, 4000))
    else:
        silent(server)
    exchange(client, server)


def protect(env, family, path):
    env.need_daemon()
    to = f"{IP[family]} daddr {SERVICE[family]} meta l4proto udp"
    with protecting(env, path, "mark") as service, counting(env, marked=f"meta mark {PROTECT_MARK} {to}",
                                                            other=f"meta mark != {PROTECT_MARK} {to}") as packets:
        client, server = client_of(env, family), server_of(env, family)
        for _ in range(3):
            exchange(client, server)
        check(service.shown == 1, f"the service was shown {service.shown} sockets")
        check(packets("marked") == 3 and not packets("other"), f"{packets('other')} packets without the mark")


def auto_detect(env, family):
    """The policy routing of our mark decides, and for each session anew."""
    env.need_daemon()
    server = server_of(env, family)
    check(exchange(client_of(env, family), server)[0] == WAN0[family], "not by wan0")
    with policy(env, family):
        check(exchange(client_of(env, family), server)[0] == WAN1[family], "not by wan1")


def by_name(env, family):
    """override_address of the outbound."""
    env.need_ctl()
    dns = Names(env, family, [SERVICE[family]])
    client, server = client_of(env, family), server_of(env, family)
    peer = exchange(client, server, (ELSEWHERE[family], address_of(server)[1]))
    check(peer[0] == WAN1[family], f"the server sees {peer}")
    check(dns.sources() == {WAN1[family]}, f"the name server saw {dns.questions}")


def gone_address(env, family):
    """A session whose own address left the router ends; the client's next datagram makes another."""
    restart(env)
    client, server = client_of(env, family), server_of(env, family)
    extra = {"v4": "10.77.2.77/24", "v6": "fd77:2::77/64"}[family]
    route = {"v4": ("10.77.9.9/32", "via", "10.77.2.2"), "v6": ("fd77:9::9/128", "via", "fd77:2::2")}[family]
    env.lab.run("router", "ip", "addr", "add", extra, "dev", "wan0")
    env.lab.run("router", "ip", "route", "add", *route, "src", extra[:-3], "metric", "5")
    try:
        first = exchange(client, server)
        env.note(f"the server saw {first[:2]}")
    finally:
        env.lab.run("router", "ip", "route", "del", *route, "metric", "5")
        env.lab.run("router", "ip", "addr", "del", extra, "dev", "wan0")
    time.sleep(0.3)
    check(exchange(client, server)[0] == WAN0[family], "not by the address that is left")


def cases_of_options(suite, family):
    bind = {"inet4_bind_address": WAN1["v4"], "inet6_bind_address": WAN1["v6"]}
    suite.add(f"udp-options/routing-mark/{family}", mark, direct(routing_mark=MARK), family=family)
    suite.add(f"udp-options/bind-interface/{family}", leaves, direct(bind_interface="wan1"), family=family,
              source=WAN1[family], interface="wan1")
    suite.add(f"udp-options/bind-address/{family}", leaves, direct(**bind), family=family, source=WAN1[family],
              interface="wan0")
    for mode in ("address", "address_port"):
        suite.add(f"udp-options/transparent-source/{mode}/{family}", transparent, direct(transparent_source=mode),
                  family=family, port=mode == "address_port")
    for allowed in (True, False):
        suite.add(f"udp-options/fragment/{allowed}/{family}", fragment, direct(udp_fragment=allowed), family=family,
                  allowed=allowed)
    suite.add(f"udp-options/auto-detect-interface/{family}", auto_detect, UdpConfig(
        route={"auto_detect_interface": True}), family=family)
    named_dns = {"servers": [{"type": "udp", "server": SERVICE[family], "detour": "way"}]}
    outbounds = [{"type": "direct", "tag": "direct", "override_address": NAME, "bind_interface": "wan1"},
                 {"type": "direct", "tag": "way", "bind_interface": "wan1"}]
    suite.add(f"udp-options/by-name/{family}", by_name, UdpConfig(outbounds=outbounds, dns=named_dns), family=family)
    suite.add(f"udp-options/gone-address/{family}", gone_address, UdpConfig(), family=family)
    suite.add(f"udp-options/netns/{family}", netns, UdpConfig(), family=family)


def main():
    suite = Suite()
    with tempfile.TemporaryDirectory(prefix="seamtest-") as folder:
        for family in FAMILIES:
            cases_of_options(suite, family)
            path = f"{folder}/protect.sock"
            suite.add(f"udp-options/protect/{family}", protect, direct(protect_path=path), family=family, path=path)
        return suite.run()


if __name__ == "__main__":
    sys.exit(main())
