"""Kinds of network devices between two namespaces of the lab, besides the veth pairs that it is made of."""
import contextlib
import glob
import json
import os
import shutil
import socket
import subprocess

from verdict import Failure, Skip, check, wait_for

NET = {"lan": ("router", "client", "lan0", 1), "wan": ("router", "server", "wan0", 2)}  # near, far, wire, number
PPPOE_SESSION = 7


def need(*programs):
    lacking = [name for name in programs if not shutil.which(name)]
    if lacking:
        raise Skip(f"no {', '.join(lacking)} (tools/deps --test)")


def probe(env, side, *argv, stdin=None):
    """What a kernel may not have."""
    try:
        return env.lab.run(side, *argv, stdin=stdin)
    except Failure as failure:
        text = " ".join(str(failure).split())
        if "nknown" in text or "not supported" in text:
            raise Skip(f"not with this kernel: {text}") from None
        raise


def mac(env, side, wire):
    return json.loads(env.lab.run(side, "ip", "-j", "link", "show", wire))[0]["address"]


def addresses(place, family="v4"):
    """Of the router, and of the host behind the device."""
    number = NET[place][3]
    return (f"10.78.{number}.1", f"10.78.{number}.2") if family == "v4" else (f"fd78:{number}::1", f"fd78:{number}::2")


@contextlib.contextmanager
def vlan(env, place):
    """An 802.1Q interface on each end of the wire."""
    near, far, wire, number = NET[place]
    name = f"{wire}.{number}0"
    try:
        for side in (near, far):
            probe(env, side, "ip", "link", "add", "link", wire, "name", name, "type", "vlan", "id", f"{number}0")
        yield name, 1500
    finally:
        remove(env, name, near, far)


@contextlib.contextmanager
def wireguard(env, place):
    """The kernel's own, over the wire."""
    need("wg")
    near, far, wire, number = NET[place]
    name, port, keys = f"wg{number}", 51890 + number, {}
    try:
        for side in (near, far):
            probe(env, side, "ip", "link", "add", name, "type", "wireguard")
            private = env.lab.run(side, "wg", "genkey")
            keys[side] = env.lab.run(side, "wg", "pubkey", stdin=private).strip()
            env.lab.run(side, "wg", "set", name, "listen-port", str(port), "private-key", "/dev/stdin",
                        stdin=private)
        for side, other in ((near, far), (far, near)):
            host = {"router": 1, "client": 2, "server": 2}[other]
            env.lab.run(side, "wg", "set", name, "peer", keys[other], "allowed-ips", "0.0.0.0/0,::/0", "endpoint",
                        f"10.77.{number}.{host}:{port}")
        yield name, 1420
    finally:
        remove(env, name, near, far)


def need_ppp():
    need("pppd")
    try:
        os.close(os.open("/dev/ppp", os.O_RDWR))
    except OSError as error:
        raise Skip(f"no PPP with this kernel: /dev/ppp: {error.strerror}") from None


@contextlib.contextmanager
def pppd(env, place, name, mtu, words, **files):
    """A pppd on each side; @words(side) are its options for the line."""
    near, far = NET[place][:2]
    own, other = addresses(place)
    daemons = []
    try:
        for side, local, remote in ((near, own, other), (far, other, own)):
            argv = ["nsenter", f"--net={env.lab.path(side)}", "pppd", *words(side), "nodetach", "noauth",
                    "nodefaultroute", "noccp", "nobsdcomp", "nodeflate", "lcp-echo-interval", "0", "mtu", str(mtu),
                    "mru", str(mtu), "ifname", name, f"{local}:{remote}"]
            line = files.get(side, subprocess.DEVNULL)
            daemons.append(subprocess.Popen(argv, stdin=line, stdout=line if files else subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL))
        for side in (near, far):
            wait_for(lambda side=side: up(env, side, name) or any(daemon.poll() is not None for daemon in daemons),
                     f"no {name} comes up", 20, 0.1)
        ended = [daemon.poll() for daemon in daemons if daemon.poll() is not None]
        check(not ended, f"pppd ended with {ended}")
        yield name, mtu
    finally:
        for daemon in daemons:
            daemon.terminate()
        for daemon in daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(5)
            daemon.kill()
            daemon.wait()


def up(env, side, name):
    listed = json.loads(env.lab.run(side, "ip", "-j", "-4", "addr"))
    return any(link["ifname"] == name for link in listed)


@contextlib.contextmanager
def ppp(env, place):
    """Over a line that carries bytes, as a modem's."""
    need_ppp()
    near, far, _, number = NET[place]
    ends = socket.socketpair()
    try:
        with pppd(env, place, f"ppp{number}", 1500, lambda side: ["notty", "local"],
                  **dict(zip((near, far), ends))) as told:
            yield told
    finally:
        for end in ends:
            end.close()


@contextlib.contextmanager
def pppoe(env, place):
    """The kernel's, over the wire, without discovery: both ends know the session."""
    need_ppp()
    try:
        socket.socket(24, socket.SOCK_STREAM, 0).close()  # AF_PPPOX
    except OSError as error:
        raise Skip(f"no PPPoE with this kernel: {error.strerror}") from None
    plugins = glob.glob("/usr/lib/pppd/*/rp-pppoe.so")
    if not plugins:
        raise Skip("pppd has no rp-pppoe.so")
    near, far, wire, number = NET[place]
    peers = {near: mac(env, far, wire), far: mac(env, near, wire)}
    with pppd(env, place, f"ppp{number}", 1492, lambda side: [
            "plugin", plugins[0], "rp_pppoe_sess", f"{PPPOE_SESSION}:{peers[side]}", wire]) as told:
        yield told


@contextlib.contextmanager
def netem(env, place):
    """The wire itself, slow, and what it carries late, doubled or lost."""
    near, far, wire, _ = NET[place]
    try:
        for side in (near, far):
            probe(env, side, "tc", "qdisc", "add", "dev", wire, "root", "netem", "limit", "10000", "delay", "5ms",
                  "1ms", "duplicate", "1%", "loss", "0.5%", "reorder", "99%", "50%")
        yield wire, 1500
    finally:
        for side in (near, far):
            with contextlib.suppress(Failure):
                env.lab.run(side, "tc", "qdisc", "del", "dev", wire, "root")


def remove(env, name, *sides):
    for side in sides:
        with contextlib.suppress(Failure):
            env.lab.run(side, "ip", "link", "del", name)


KINDS = {"vlan": vlan, "wireguard": wireguard, "ppp": ppp, "pppoe": pppoe, "netem": netem}
