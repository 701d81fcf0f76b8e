#!/usr/bin/python3
"""Where a connection leaves, as who, and how long it may take: the dialer options as the server and the wire see them,
both families: TCP flows, and by `detour` of a DNS server the UDP sockets of the same outbound."""
import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import tempfile
import time

from daemon import SEAMD, Config
from lab import SERVICE
from seamtest import Suite
from streams import MIB, expect_reset, ping_pong
from verdict import Skip, check, wait_for
from wire import (ACK, NAME, WAN0, WAN1, Capture, Names, by_name, connects, counting, direct, fails, named, same_bytes,
                  source_of, sysctl)

CLIENT = {"v4": "10.77.1.2", "v6": "fd77:1::2"}
IP = {"v4": "ip", "v6": "ip6"}
OTHER = {"v4": "v6", "v6": "v4"}
MARK, PROTECT_MARK = 0x6151, 0x6152


def routing_mark(env, family):
    to = f"{IP[family]} daddr {SERVICE[family]}"
    with counting(env, tcp=f"meta mark {MARK} meta l4proto tcp {to}", udp=f"meta mark {MARK} meta l4proto udp {to}",
                  other=f"meta mark != {MARK} {to}") as packets:
        by_name(env, family)
        for name in ("tcp", "udp"):
            check(packets(name) >= 2, f"{packets(name)} {name} packets with the mark")
        check(not packets("other"), f"{packets('other')} packets without the mark")


def mark_of_questions(env, family):
    """Without a detour they have the mark of route.final, so that the firewall lets them pass."""
    with counting(env, marked=f"meta mark {MARK} udp dport 53", other=f"meta mark != {MARK} udp dport 53") as packets:
        by_name(env, family)
        check(packets("marked") >= 2 and not packets("other"), f"{packets('other')} questions without the mark")


def leaves(env, family, source, interface):
    """The flow and the questions have this source address, and leave by this interface."""
    other = {"wan0": "wan1", "wan1": "wan0"}[interface]
    to = f"{IP[family]} daddr {SERVICE[family]}"
    with counting(env, tcp=f"oifname {interface} meta l4proto tcp {to}", other=f"oifname {other} {to}",
                  udp=f"oifname {interface} meta l4proto udp {to}") as packets:
        dns, _, server = by_name(env, family)
        check(source_of(server) == source, f"the server sees {source_of(server)}")
        check(dns.sources() == {source}, f"the name server saw {dns.questions}")
        for name in ("tcp", "udp"):
            check(packets(name) >= 2, f"{packets(name)} {name} packets by {interface}")
        check(not packets("other"), f"{packets('other')} packets by {other}")


def ports_shared(env, family, ports, shared):
    """Two ports, five destinations: enough if the port is chosen for the destination only."""
    env.need_daemon()
    low, high = ports
    with sysctl(env, "router", ip_local_port_range=f"{low} {high}"):
        for _ in range(5 if shared else 2):
            client, server = env.pair(family)
            ping_pong(client, server, 1)
            check(server.getpeername()[0] == WAN1[family] and low <= server.getpeername()[1] <= high,
                  f"the server sees {server.getpeername()[:2]}")
        if not shared:
            fails(env, env.listen(family).getsockname(), family, "dial-failed", ("bind", "Address already in use"))


@contextlib.contextmanager
def elsewhere(env):
    """A namespace with an uplink of its own to the server; yields its name."""
    name, server = f"{env.lab.name}-else", f"{env.lab.name}-server"
    script = f"""ip netns add {name}
ip -n {name} link add wan2 type veth peer name wan2 netns {server}
for side in "{name} 1" "{server} 2"; do
    set -- $side
    ip -n $1 addr add 10.77.4.$2/24 dev wan2
    ip -n $1 addr add fd77:4::$2/64 dev wan2 nodad
    ip -n $1 link set wan2 up
done
ip -n {name} link set lo up
ip -n {name} route add 10.77.9.9 via 10.77.4.2
ip -n {name} route add fd77:9::9 via fd77:4::2"""
    try:
        subprocess.run(["sh", "-ec", script], check=True)
        wait_for(lambda: "DOWN" not in subprocess.run(["ip", "-n", name, "-br", "link"], capture_output=True, text=True,
                                                      check=True).stdout, "wan2 does not come up")
        yield name
    finally:
        for words in (("-n", name, "link", "del", "wan2"), ("netns", "del", name)):
            subprocess.run(["ip", *words], check=False)


def netns(env, by):
    """Its sockets are in another namespace, named or by path; what changes in the router's does not touch them."""
    env.need_daemon()
    with elsewhere(env) as name:
        for family, source in (("v4", "10.77.4.1"), ("v6", "fd77:4::1")):
            env.daemon.use(named(family, netns=name if by == "name" else f"/run/netns/{name}"))
            dns, client, server = by_name(env, family)
            check(source_of(server) == source, f"the server sees {source_of(server)}")
            check(dns.sources() == {source}, f"the name server saw {dns.questions}")
            env.lab.run("router", "ip", "addr", "add", "10.77.8.1/32", "dev", "lo")
            time.sleep(0.4)
            env.lab.run("router", "ip", "addr", "del", "10.77.8.1/32", "dev", "lo")
            same_bytes(env, client, server, MIB)
            env.daemon.wait_idle()


def transparent(env, family, port):
    """The server sees the client, the client the server; both ways every byte."""
    dns, client, server = by_name(env, family)
    peer, own = server.getpeername(), client.getsockname()
    check(peer[0] == CLIENT[family] == own[0], f"the server sees {peer[0]}")
    check(not port or peer[1] == own[1], f"the server sees port {peer[1]}, the client has {own[1]}")
    check(dns.sources() == {WAN0[family]}, f"the name server saw {dns.questions}")
    same_bytes(env, client, server)
    fails(env, (SERVICE[family], 9), family, "dial-failed", ("Connection refused",))


def transparent_other_family(env, family):
    """A client's address is of no use where the other family leads."""
    fails(env, (SERVICE[family], 9), family, "dial-failed", ("transparent_source of another family",), between=(0, 1))


@contextlib.contextmanager
def policy(env, family):
    """Packets with our mark leave by wan1."""
    ip = ["ip", "-6" if family == "v6" else "-4"]
    via = {"v4": "10.77.3.2", "v6": "fd77:3::2"}[family]
    env.lab.run("router", *ip, "route", "add", SERVICE[family], "via", via, "dev", "wan1", "table", "77")
    env.lab.run("router", *ip, "rule", "add", "pref", "700", "fwmark", "1514", "lookup", "77")
    try:
        yield
    finally:
        env.lab.run("router", *ip, "rule", "del", "pref", "700")
        env.lab.run("router", *ip, "route", "flush", "table", "77")


def check_bound(env, family, device, source):
    client, server = env.pair(family)
    ping_pong(client, server, 1)
    check([attempt["interface"] for attempt in connects(env, client)] == [device], f"tried {connects(env, client)}")
    check(source_of(server) == source, f"the server sees {source_of(server)}")
    sockets = env.lab.run("router", "ss", "-Htn", f"dport = :{server.getsockname()[1]}")
    check(f"%{device}:" in sockets, f"not bound to {device}: {sockets}")


def auto_detect(env, family):
    """The policy routing of our own mark decides, and anew for each dial."""
    env.need_ctl()
    check_bound(env, family, "wan0", WAN0[family])
    with policy(env, family):
        check_bound(env, family, "wan1", WAN1[family])
    check_bound(env, family, "wan0", WAN0[family])


class Protect:
    """The service at protect_path; @how: "mark" the socket and answer, "refuse", or stay "silent"."""

    def __init__(self, env, path, how):
        self.how, self.shown = how, 0
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        env.open.append(self.listener)
        self.listener.bind(path)
        self.listener.listen()
        env.spawn(self.serve, env)

    def serve(self, env):
        while True:
            conn, _ = self.listener.accept()
            data, fds, _, _ = socket.recv_fds(conn, 8, 4)
            self.shown += len(data) == len(fds) == 1
            for fd in fds:
                with socket.socket(fileno=fd) as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROTECT_MARK)
            if self.how == "mark":
                with contextlib.suppress(BrokenPipeError):  # the client has left, and the daemon with it
                    conn.sendall(b"\x01")
            if self.how != "silent":
                conn.close()
            env.open.append(conn)


@contextlib.contextmanager
def protecting(env, path, how):
    try:
        yield Protect(env, path, how)
    finally:
        os.unlink(path)


def protect(env, family, path):
    """The service has its say before the first packet: all of them carry its mark."""
    env.need_daemon()
    to = f"meta l4proto tcp {IP[family]} daddr {SERVICE[family]}"
    with protecting(env, path, "mark") as service, counting(env, marked=f"meta mark {PROTECT_MARK} {to}",
                                                            other=f"meta mark != {PROTECT_MARK} {to}") as packets:
        client, server = env.pair(family)
        ping_pong(client, server, 3)
        check(service.shown == 1, f"the service was shown {service.shown} sockets")
        check(packets("marked") >= 2 and not packets("other"), f"{packets('other')} packets without the mark")


def protect_fails(env, family, path):
    address = env.listen(family).getsockname()
    fails(env, address, family, "dial-failed", ("protect", "No such file"))
    with protecting(env, path, "refuse"):
        fails(env, address, family, "dial-failed", ("protect", "Permission denied"))
    with protecting(env, path, "silent"):
        fails(env, address, family, "dial-timeout", between=(0.8, 1.2))


def black_hole(env):
    """Answers nothing: connect_timeout, or dial_timeout, of a second."""
    env.need_daemon()
    with env.lab.nft(server="tcp dport 9 drop"):
        env.together(*((fails, env, (SERVICE[family], 9), family, "dial-timeout", (), (0.8, 1.2))
                       for family in ("v4", "v6")))


def many_black_holes(env):
    """Of all addresses together."""
    Names(env, "v4", [*SERVICE.values(), "10.77.2.2", "10.77.3.2", "fd77:2::2"])
    with env.lab.nft(server="tcp dport 9 drop"):
        fails(env, (SERVICE["v4"], 9), "v4", "dial-timeout", between=(0.8, 1.2))


def keep_alive(env, on):
    """Probes every second, and after two without an answer the end; or none at all."""
    env.need_daemon()
    pairs = {family: env.pair(family) for family in ("v4", "v6")}
    for client, server in pairs.values():
        ping_pong(client, server, 3)
    time.sleep(0.3)
    captures = {family: Capture(env, "wan0", server.getsockname()[1]) for family, (_, server) in pairs.items()}
    time.sleep(2.5 if on else 1.5)
    for family, (client, server) in pairs.items():
        probes = captures[family].packets()
        check(len(probes) in ((2, 3) if on else (0,)), f"{family}: {len(probes)} probes")
        check(all(not packet.payload and packet.flags == ACK for packet in probes), f"not only probes: {probes}")
        ping_pong(client, server, 1)
    if on:
        started = time.monotonic()
        with env.lab.nft(server="meta l4proto tcp drop"):
            for client, _ in pairs.values():
                expect_reset(client, 6)
        took = time.monotonic() - started
        check(2 < took < 4.5, f"the end came after {took:.1f} s, not 3 s")


CHAIN = Config("copy", outbounds=[{"type": "direct", "tag": "direct", "detour": "middle"},
                                  {"type": "direct", "tag": "middle", "detour": "last"},
                                  {"type": "direct", "tag": "last", "bind_interface": "wan1"}])


def detour(env, family):
    env.need_daemon()
    client, server = env.pair(family)
    check(source_of(server) == WAN1[family], f"the server sees {source_of(server)}")
    same_bytes(env, client, server, MIB)


def detour_by_name(env, family):
    """The first of the chain knows where to, the last how; questions go the same way."""
    dns, client, server = by_name(env, family)
    check(source_of(server) == WAN1[family], f"the server sees {source_of(server)}")
    check(dns.sources() == {WAN1[family]}, f"the name server saw {dns.questions}")
    same_bytes(env, client, server, MIB)


def refused(env, family, words):
    """With the reason in the log."""
    fails(env, env.listen(family).getsockname(), family, "dial-failed", words, between=(0, 1))


def mistake(env, wrong, words):
    """Refused before anything runs."""
    if SEAMD == "none":
        raise Skip("no daemon")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(wrong.text(env.daemon.socket))
        file.flush()
        done = subprocess.run([SEAMD, "check", "-c", file.name], capture_output=True, text=True)
    check(done.returncode == 78, f"exit status {done.returncode}")
    check(all(word in done.stderr for word in words), done.stderr)


def cases_of_sockets(suite, family):
    bind = {"inet4_bind_address": WAN1["v4"], "inet6_bind_address": WAN1["v6"]}
    wan1 = named(family, bind_interface="wan1")
    suite.add(f"options/routing-mark/{family}", routing_mark, named(family, routing_mark=MARK), family=family)
    plain = named(family, to_name={"routing_mark": MARK})
    plain = dataclasses.replace(plain, dns={"servers": [{"type": "udp", "server": SERVICE[family]}]})
    suite.add(f"options/routing-mark/{family}/questions", mark_of_questions, plain, family=family)
    suite.add(f"options/bind-interface/{family}", leaves, wan1, family=family, source=WAN1[family], interface="wan1")
    suite.add(f"options/bind-address/{family}", leaves, named(family, **bind), family=family, source=WAN1[family],
              interface="wan0")
    for shared, ports in ((True, {"v4": (40000, 40001), "v6": (40002, 40003)}),
                          (False, {"v4": (40004, 40005), "v6": (40006, 40007)})):
        suite.add(f"options/bind-address-no-port/{family}/{shared}", ports_shared,
                  direct(bind_address_no_port=shared, **bind), family=family, ports=ports[family], shared=shared)
    for mode in ("address", "address_port"):
        suite.add(f"options/transparent-source/{family}/{mode}", transparent,
                  named(family, transparent_source=mode), family=family, port=mode == "address_port")
    suite.add(f"options/transparent-source/{family}/other", transparent_other_family,
              direct(transparent_source="address", override_address=SERVICE[OTHER[family]]), family=family)


def cases_of_ways(suite, family, path):
    suite.add(f"options/protect/{family}", protect, direct(protect_path=path, dial_timeout="1s"), family=family,
              path=path)
    suite.add(f"options/protect-fails/{family}", protect_fails, direct(protect_path=path, dial_timeout="1s"),
              family=family, path=path)
    suite.add(f"options/auto-detect-interface/{family}", auto_detect,
              Config("copy", route={"auto_detect_interface": True}), family=family)
    suite.add(f"options/detour/{family}", detour, CHAIN, family=family)
    dns = {"servers": [{"type": "udp", "server": SERVICE[family], "detour": "direct"}]}
    outbounds = [CHAIN.outbounds[0] | {"override_address": NAME}, *CHAIN.outbounds[1:]]
    suite.add(f"options/detour/{family}/by-name", detour_by_name,
              dataclasses.replace(CHAIN, outbounds=outbounds, dns=dns), family=family)


def cases_of_time(suite):
    suite.add("options/connect-timeout", black_hole, direct(connect_timeout="1s"))
    suite.add("options/dial-timeout", black_hole, direct(dial_timeout="1s"))
    suite.add("options/dial-timeout/names", many_black_holes, named(to_name={"dial_timeout": "1s"}))
    often = {"tcp_keep_alive": "1s", "tcp_keep_alive_interval": "1s", "tcp_keep_alive_count": 2}
    suite.add("options/keep-alive/on", keep_alive, direct(**often), on=True)
    suite.add("options/keep-alive/off", keep_alive, direct(disable_tcp_keep_alive=True), on=False)


def cases_of_mistakes(suite):
    nowhere = direct(inet4_bind_address="10.99.99.99", inet6_bind_address="fd99::99")
    for family in ("v4", "v6"):
        suite.add(f"options/no-such-interface/{family}", refused, direct(bind_interface="nosuch0"), family=family,
                  words=("nosuch0", "SO_BINDTODEVICE", "No such device"))
        suite.add(f"options/no-such-address/{family}", refused, nowhere, family=family,
                  words=("bind", "Cannot assign requested address"))
    back = dataclasses.replace(CHAIN, outbounds=[CHAIN.outbounds[0], CHAIN.outbounds[1] | {"detour": "direct"}])
    lost = named()
    lost = dataclasses.replace(lost, dns={"servers": [lost.dns["servers"][0] | {"detour": "wax"}]})
    suite.add("options/mistake/detour", mistake, nowhere, wrong=back, words=("/outbounds/0/detour", "middle"))
    suite.add("options/mistake/dns", mistake, nowhere, wrong=lost, words=("/dns/servers/0/detour", "way"))


def main():
    suite = Suite()
    with tempfile.TemporaryDirectory(prefix="seamtest-") as folder:
        for family in ("v4", "v6"):
            cases_of_sockets(suite, family)
            cases_of_ways(suite, family, f"{folder}/protect.sock")
        for by in ("name", "path"):
            suite.add(f"options/netns/{by}", netns, by=by)
        cases_of_time(suite)
        cases_of_mistakes(suite)
        return suite.run()


if __name__ == "__main__":
    sys.exit(main())
