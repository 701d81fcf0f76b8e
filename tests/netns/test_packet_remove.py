#!/usr/bin/python3
"""Packets removed by hand, with a daemon and without; and what a daemon finds: another one, pins of another size, pins of
a namespace that is gone. Nothing of it stays."""
import ctypes
import dataclasses
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

from daemon import SEAMCTL, SEAMD, Config, Daemon
from lab import Lab
from seamtest import Env, Suite
from streams import MIB, Stream, expect_reset, ping_pong, receive, send
from test_packet import QUIET, adopted, is_parked, warm, warm_many
from verdict import check, wait_for

AUTO = Config("auto", enter_after=4)
TCX_INGRESS = 46  # enum bpf_attach_type, 6.6


def pins(env):
    folder = pathlib.Path(env.lab.pins)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else None


def attached(env):
    """How many programs are at the ingress of the router's interfaces, by tcx (which old bpftool does not show) or
    clsact."""
    bpf, count = ctypes.CDLL("libbpf.so.1", use_errno=True), 0
    with env.lab.inside("router"):
        for _, device in socket.if_nameindex():
            ids, found = (ctypes.c_uint32 * 16)(), ctypes.c_uint32(16)
            if not bpf.bpf_prog_query(socket.if_nametoindex(device), TCX_INGRESS, 0, None, ids, ctypes.byref(found)):
                count += found.value
    for device in ("lan0", "wan0"):
        count += env.lab.run("router", "tc", "filter", "show", "dev", device, "ingress").count("seam_")
    return count


def nothing_is_left(env):
    check(pins(env) is None, f"pinned: {pins(env)}")
    wait_for(lambda: not attached(env), lambda: f"attached: {attached(env)}", 2)


def cleanup(env):
    done = subprocess.run(["nsenter", f"--net={env.lab.path('router')}", SEAMD, "cleanup"], capture_output=True, text=True,
                          timeout=20, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def metric(env, name):
    return int(re.search(rf"^{re.escape(name)} (\d+)$", env.daemon.ctl("metrics"), re.M)[1])


def by_daemon(env):
    """Taken flows are reset at both ends, the others go on, new ones come, and none is taken any more."""
    pairs = warm_many(env, 20)
    config = env.daemon.config
    env.daemon.stop()
    env.daemon.start(config)  # of these, half are adopted
    pairs += [warm(env) for _ in range(3)]
    quiet = env.pair()
    ping_pong(*quiet, 6, 100)
    check(attached(env) and pins(env), "nothing is attached or pinned")
    answer = json.loads(env.daemon.ctl("-j", "packet", "remove"))
    check(answer == {"flows": 23}, f"{answer}")
    for client, server in pairs:
        expect_reset(client, 2)
        expect_reset(server, 2)
    nothing_is_left(env)
    check(env.daemon.flow_of(quiet[0])["packet"] in ("removed", ""), f"{env.daemon.flow_of(quiet[0])}")
    stream = Stream(4, 8 * MIB)
    for pair in (quiet, env.pair()):
        ping_pong(*pair, 10, 100)
        env.together((send, pair[0], stream), (receive, pair[1], stream))
        check(env.daemon.flow_of(pair[0])["method"] != "packet", "it is taken")
    status = json.loads(env.daemon.ctl("-j", "status"))["relay"]["packet"]
    check(not status["available"] and "removed by hand" in status["reason"] and not status["pairs"], f"{status}")
    check(metric(env, "seam_packet_available") == 0 and metric(env, "seam_packet_pairs") == 0, "the metrics say other")
    check(json.loads(env.daemon.ctl("-j", "packet", "remove")) == {"flows": 0}, "a second time is not fine")
    nothing_is_left(env)
    env.daemon.stop()
    env.daemon.start(config)
    warm(env)


def without_daemon(env):
    """The same for flows that go on without one; while one runs it is told so."""
    env.daemon.wait_idle(8, may_linger=False)
    pairs = warm_many(env, 20)
    code, text = cleanup(env)
    check(code == 1 and "seamctl packet remove" in text, f"{code}: {text}")
    ping_pong(*pairs[0], 2, 100)
    env.daemon.kill()
    ping_pong(*pairs[0], 2, 100)
    check(attached(env) and pins(env), "nothing is attached or pinned")
    code, text = cleanup(env)
    check(code == 0 and text == "20 flows were reset", f"{code}: {text}")
    for client, server in pairs:
        expect_reset(client, 2)
        expect_reset(server, 2)
    nothing_is_left(env)
    check(cleanup(env) == (0, "0 flows were reset"), f"{cleanup(env)}")


def broken_pins(env):
    """What cannot be loaded any more is removed all the same."""
    client, _ = warm(env)
    config = env.daemon.config
    env.daemon.kill()
    folder = next(pathlib.Path(env.lab.pins).iterdir())
    (folder / "seam_halves").unlink()
    code, text = cleanup(env)
    check(code == 0, f"{code}: {text}")
    nothing_is_left(env)
    env.daemon.start(config)  # until then the rules drop what is intercepted
    client.sendall(b"to nobody")
    expect_reset(client, 4)


def second_daemon(env, method):
    """One of them has the packets; the other says so, and relays, or ends if it has to have them."""
    client, server = warm(env)
    folder = pathlib.Path(env.daemon.folder.name)
    config = json.loads(dataclasses.replace(env.daemon.config, method=method).text(f"{folder}/second.sock"))
    config["inbounds"][0]["listen_port"] = 12399
    (folder / "second.json").write_text(json.dumps(config), encoding="utf-8")
    argv = ["nsenter", f"--net={env.lab.path('router')}", SEAMD, "run", "-c", f"{folder}/second.json"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as second:
        try:
            if method == "packet":
                check(second.wait(10) == 1, "it does not end")
            else:
                ask = [SEAMCTL, "-s", f"{folder}/second.sock", "-j", "status"]
                wait_for(lambda: subprocess.run(ask, capture_output=True).returncode == 0, "it does not answer", 10)
                told = json.loads(subprocess.check_output(ask))["relay"]["packet"]
                check(not told["available"] and "another seamd" in told["reason"], f"{told}")
                done = subprocess.run([*ask[:3], "packet", "remove"], capture_output=True, text=True)
                check(done.returncode == 1 and "another seamd" in done.stderr, f"{done}")
        finally:
            second.terminate()
        log = second.stderr.read()
    check(log.count("another seamd has the packets") == 1, log)
    ping_pong(client, server, 5, 100)
    check(is_parked(env, client), "the flow of the first was not left alone")


def other_size(env, alive):
    """The next daemon has another number of flows: with flows to adopt it keeps the pairs, and says so."""
    client, server = warm(env)
    config = env.daemon.config
    if not alive:
        client.close()
        server.close()
    before = json.loads(env.daemon.ctl("-j", "status"))["relay"]["packet"]["pairs_max"]
    if not alive:
        env.daemon.wait_idle(8, may_linger=False)
    env.daemon.kill()
    env.daemon.start(dataclasses.replace(config, max_flows=100))
    after = json.loads(env.daemon.ctl("-j", "status"))["relay"]["packet"]["pairs_max"]
    told = [line for line in env.daemon.log_lines() if "as it had" in line]
    if alive:
        check(after == before and len(told) == 1, f"{before}, then {after}: {told}")
        ping_pong(client, server, 5, 100)
        adopted(env, client)
    else:
        check(after < before and not told, f"{before}, then {after}: {told}")
    warm_many(env, 20)


def gone_namespace(env):
    """The pins that a namespace has left behind go when a daemon starts elsewhere; not while it lives."""
    lab = Lab("b")
    other = Env(lab, Daemon(lab))
    other.daemon.start(QUIET)
    warm(other)
    other.daemon.kill()
    other.close()

    def restart():
        config = env.daemon.config
        env.daemon.stop()
        env.daemon.start(config)
        return pins(other)

    check(restart(), "the pins of a namespace that lives are gone")
    lab.tool("down")
    for fd in lab.ns.values():
        os.close(fd)
    wait_for(lambda: not restart(), lambda: f"left: {pins(other)}", 20, 1)
    check("namespaces that are gone" in "".join(env.daemon.log_lines()), "it does not say so")


def main():
    suite = Suite()
    suite.add("packet-remove/daemon", by_daemon, QUIET, 60)
    suite.add("packet-remove/daemon/auto", by_daemon, AUTO, 60)
    suite.add("packet-remove/alone", without_daemon, QUIET, 60)
    suite.add("packet-remove/broken-pins", broken_pins, QUIET)
    for method in ("auto", "packet"):
        suite.add(f"packet-remove/second-daemon/{method}", second_daemon, QUIET, method=method)
    for alive in (True, False):
        suite.add(f"packet-remove/other-size/{'alive' if alive else 'none'}", other_size, QUIET, 60, alive=alive)
    suite.add("packet-remove/gone-namespace", gone_namespace, QUIET, 60)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
