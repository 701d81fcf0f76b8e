#!/usr/bin/python3
"""relay.packet where the client or the server is behind a VLAN, PPP, PPPoE or WireGuard device, or a bad line: flows
that tc takes over at a quiet moment, their bytes and ends. tests/kernels runs it on kernels that have all of these."""
import contextlib
import sys

from devices import KINDS, NET, addresses
from lab import SERVICE
from seamtest import Suite
from streams import MIB, Stream, expect_reset, receive, send, whole_blocks
from test_packet import QUIET, warm
from verdict import check

SIZE = 8 * MIB
ETHERNET = 1500


@contextlib.contextmanager
def through(env, place, family, name):
    """The host behind the device is reached by it."""
    near, far = NET[place][:2]
    own, other = addresses(place, family)
    width, bits = ("24", "32") if family == "v4" else ("64", "128")
    for side, address in ((near, own), (far, other)):
        if family == "v6":
            env.lab.run(side, "ip", "addr", "add", f"{address}/{width}", "dev", name, "nodad")
        elif not name.startswith("ppp"):
            env.lab.run(side, "ip", "addr", "add", f"{address}/{width}", "dev", name)
        env.lab.run(side, "ip", "link", "set", name, "up")
    service = f"{SERVICE[family]}/{bits}"
    if place == "wan":
        env.lab.run("router", "ip", "route", "add", service, "via", other, "dev", name, "metric", "1")
        yield
        return
    env.lab.run("client", "ip", "route", "add", service, "via", own, "dev", name)
    env.lab.run("router", "nft", "add", "element", "inet", "seam", "lan", f'{{ "{name}" }}')
    try:
        yield
    finally:
        env.lab.run("router", "nft", "delete", "element", "inet", "seam", "lan", f'{{ "{name}" }}')


@contextlib.contextmanager
def mtu_of(env, places, mtu):
    """The wires of @places fit what is elsewhere; unlike ones are the matter of test_packet_match.py."""
    def assign(value):
        for place in places:
            near, far, wire, _ = NET[place]
            for side in (near, far):
                env.lab.run(side, "ip", "link", "set", wire, "mtu", str(value))

    assign(mtu)
    try:
        yield
    finally:
        assign(ETHERNET)


def loaded(env, client, server):
    """Both ways at once, and the client's end first."""
    up, down, rest = Stream(1, SIZE), Stream(2, SIZE), Stream(3, MIB)
    before = env.daemon.flow_of(client)
    env.together((send, client, up, whole_blocks, False), (receive, server, up, False),
                 (send, server, down, whole_blocks, False), (receive, client, down, False))
    flow = env.daemon.flow_of(client)
    check(flow["method"] == "packet" and flow["state"] == "parked", f"{flow}")
    for way in ("up", "down"):
        moved = flow[way]["kernel_bytes"] - before[way]["kernel_bytes"]
        check(SIZE <= moved < SIZE * 1.2, f"{way}: {moved} of {SIZE} bytes were translated")
    client.shutdown(1)
    check(not server.recv(1), "bytes behind the end")
    env.together((send, server, rest), (receive, client, rest))


def killed(env, client, server):
    env.daemon.ctl("flows", "kill", str(env.daemon.flow_of(client)["id"]))
    expect_reset(client)
    expect_reset(server)


def carried(env, kind, places, family):
    """Taken at a quiet moment, loaded, half-closed; another one killed."""
    with contextlib.ExitStack() as stack:
        devices = {place: stack.enter_context(KINDS[kind](env, place)) for place in places}
        mtu = min(mtu for _, mtu in devices.values())
        for place, (name, _) in devices.items():
            if name != NET[place][2]:
                stack.enter_context(through(env, place, family, name))
        plain = [place for place in NET if place not in places]
        stack.enter_context(mtu_of(env, plain, mtu))
        loaded(env, *warm(env, family))
        killed(env, *warm(env, family))


def main():
    suite = Suite()
    for kind in KINDS:
        for places in (("lan",), ("wan",), ("lan", "wan")):
            if kind == "ppp" and len(places) > 1:
                continue  # two lines in user space take too long
            for family in ("v4", "v6"):
                suite.add(f"{kind}/{'-'.join(places)}/{family}", carried, QUIET, 120, kind=kind, places=places,
                          family=family)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
