#!/usr/bin/python3
"""What TCP means must survive the proxy: who speaks first, FIN each way, RST each way, failed dials, timeouts."""
import contextlib
import re
import select
import socket
import sys
import time

from daemon import PROXY_PORT, Config
from lab import ROUTER, SERVICE
from seamtest import Suite
from streams import (MIB, Stream, compare_some, expect_end, expect_reset, expect_silence, ping_pong, receive, reset,
                     send)
from verdict import Failure, check, wait_for

CONFIGS = {name: Config(name, enter_after=0) for name in ("copy", "splice", "sockmap", "auto")}
WARM = 24  # messages each way, so that a flow has entered the kernel


def ends(env, family, sender, warm=1):
    """Both ends of a connection, the one that acts first in front; at least a message each way shows that the
    daemon is done with the dial, which a FIN of the client may end."""
    client, server = env.pair(family)
    ping_pong(client, server, warm, 100)
    return (client, server) if sender == "client" else (server, client)


# One after the other ----------------------------------------------------------------------------------

def server_first(env, family):
    client, server = env.pair(family)
    server.sendall(b"220 ready\r\n")
    check(client.recv(100) == b"220 ready\r\n", "no greeting")
    client.sendall(b"QUIT\r\n")
    check(server.recv(100) == b"QUIT\r\n", "no command")


def half_close(env, family, sender, warm):
    """The FIN goes through at once, the other direction stays open while nothing happens and works after."""
    one, other = ends(env, family, sender, warm)
    request, answer = Stream(1, 300000), Stream(2, 4 * MIB)
    env.together((send, one, request), (receive, other, request))
    expect_silence(one, 0.4)
    env.together((send, other, answer), (receive, one, answer))


def bare_fin(env, family, sender, warm):
    one, other = ends(env, family, sender, warm)
    one.shutdown(socket.SHUT_WR)
    expect_end(other)
    answer = Stream(3, MIB)
    env.together((send, other, answer), (receive, one, answer))


def bare_fin_at_once(env, family):
    """The FIN may come while the daemon still dials, and end the dial: then RST; but no third way out."""
    listener = env.listen(family)
    client, answer = env.connect(listener.getsockname(), family), Stream(4, MIB)
    client.shutdown(socket.SHUT_WR)
    listener.settimeout(1)
    try:
        server = env.accept(listener)
        expect_end(server)
        env.together((send, server, answer), (receive, client, answer))
    except (TimeoutError, ConnectionResetError, BrokenPipeError):
        env.need_daemon()
        env.note("the FIN ended the dial")
        with contextlib.suppress(ConnectionResetError):
            check(not client.recv(1), "data from nowhere")


def fin_with_data(env, family, sender, warm):
    """The last bytes and the FIN in one segment."""
    one, other = ends(env, family, sender, warm)
    one.send(b"last words", socket.MSG_MORE)
    one.shutdown(socket.SHUT_WR)
    check(other.recv(100, socket.MSG_WAITALL) == b"last words", "the last words got lost")
    expect_end(other)
    other.sendall(b"answer")
    check(one.recv(6, socket.MSG_WAITALL) == b"answer", "no answer")


def rst_idle(env, family, sender, warm):
    one, other = ends(env, family, sender, warm)
    reset(one)
    expect_reset(other, drain=False)


def rst_after_fin(env, family, sender, warm):
    """One end has finished, then the other one gives up."""
    one, other = ends(env, family, sender, warm)
    other.shutdown(socket.SHUT_WR)
    expect_end(one)
    reset(one)
    expect_reset(other, drain=False)


def rst_sending(env, family, sender, warm):
    """The end that sends gives up in the middle; what arrives before the RST must be right."""
    one, other = ends(env, family, sender, warm)
    stream = Stream(5, 256 * MIB)
    sending = env.spawn(send, one, stream)
    check(compare_some(other, stream, 0, 8 * MIB) == 8 * MIB, "ended early")
    reset(one)
    try:
        total = compare_some(other, stream, 8 * MIB)
        raise Failure(f"FIN in place of RST after {8 * MIB + total} bytes")
    except ConnectionResetError:
        sending.join()


def rst_receiving(env, family, sender, warm):
    """The end that receives gives up: the sender hears of it by its next send()."""
    one, other = ends(env, family, sender, warm)
    stream = Stream(6, 256 * MIB)
    sending = env.spawn(send, other, stream)
    check(compare_some(one, stream, 0, 8 * MIB) == 8 * MIB, "ended early")
    reset(one)
    sending.join(5)
    check(isinstance(sending.error, (ConnectionResetError, BrokenPipeError)), f"the sender got {sending.error!r}")


def rst_unread(env, family, sender, warm):
    """close() with bytes unread is an RST too."""
    one, other = ends(env, family, sender, warm)
    other.sendall(b"nobody reads this")
    wait_for(lambda: select.select([one], [], [], 0)[0], "nothing arrived")
    one.close()
    expect_reset(other, drain=False)


def empty(env, family):
    listener = env.listen(family)
    for _ in range(20):
        env.connect(listener.getsockname(), family).close()
    client = env.connect(listener.getsockname(), family)
    client.sendall(b"still there?")
    listener.settimeout(5)
    while not (data := env.accept(listener).recv(100)):
        pass
    check(data == b"still there?", f"got {data!r}")


def byte_by_byte(env, family):
    client, server = env.pair(family)
    started = time.monotonic()
    ping_pong(client, server, 2000)
    env.note(f"{2000 / (time.monotonic() - started):.0f} rounds/s")


def urgent(env, family, warm):
    """Urgent data arrives as ordinary data, in its place."""
    client, server = env.pair(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    ping_pong(client, server, warm, 100)
    client.sendall(b"before")
    client.send(b"!", socket.MSG_OOB)
    client.sendall(b"after")
    client.shutdown(socket.SHUT_WR)
    got = b"".join(iter(lambda: server.recv(100), b""))  # each recv() stops at the urgent mark
    check(got == b"before!after", f"got {got!r}")


# Dialing ----------------------------------------------------------------------------------------------

def dial_refused(env, family):
    listener = env.listen(family)
    address = listener.getsockname()
    listener.close()
    expect_refusal(env, address, family)


def expect_refusal(env, address, family, seconds=5.0):
    """RST: to the SYN, or behind the handshake that the router made in the server's name."""
    client = env.socket("client", family)
    client.settimeout(seconds)
    with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
        client.connect(address[:2])
        expect_reset(client, seconds, drain=False)


@contextlib.contextmanager
def black_hole(env, family):
    """A service that never answers, and what the router still tries to reach there."""
    env.need_daemon()
    port = env.listen(family).getsockname()[1]

    def dials():
        return env.lab.run("router", "ss", "-Htn", "state", "syn-sent", f"dport = :{port}").splitlines()

    with env.lab.nft(server=f"tcp dport {port} drop"):
        yield (SERVICE[family], port), dials


def gone_while_dialing(env, family, how):
    with black_hole(env, family) as (address, dials):
        client = env.connect(address, family)
        wait_for(dials, "the daemon does not dial")
        how(client)
        wait_for(lambda: not dials(), "the dial goes on without the client", 1)


def dial_timeout(env, family):
    with black_hole(env, family) as (address, dials):
        client, started = env.connect(address, family), time.monotonic()
        client.sendall(b"anybody?")
        expect_reset(client, 4, drain=False)
        took = time.monotonic() - started
        check(0.8 < took < 2, f"RST after {took:.1f} s, not about 1 s")
        check(not dials(), "the dial goes on")


def own_address(env, family, guarded):
    """The proxy port on the router's own address: refused, and no loop through the daemon itself. The rules
    keep such packets away; without them (not @guarded) the daemon refuses."""
    env.need_daemon()
    address, started = (ROUTER[family], PROXY_PORT), env.daemon.cpu_seconds()
    if not guarded:
        env.lab.run("router", "nft", "insert rule inet seam prerouting tcp dport", str(PROXY_PORT), "accept")
    try:
        with env.lab.nft(router=f"tcp dport {PROXY_PORT} counter"):
            try:
                expect_refusal(env, address, family, 1)
            except TimeoutError:
                check(guarded, "no answer")
            rules = env.lab.run("router", "nft", "list", "table", "inet", "e2e")
            packets = int(re.search(r"counter packets (\d+)", rules)[1])
            check(packets < 10, f"{packets} packets to the proxy port")
    finally:
        env.lab.tool("rules", "nft", "install")
    check(env.daemon.cpu_seconds() - started < 0.5, "the daemon is busy")


# Ends that the daemon decides on ----------------------------------------------------------------------

def ended(conn, seconds):
    """How the connection ends, and after how long."""
    conn.settimeout(seconds)
    started = time.monotonic()
    try:
        check(not conn.recv(1), "data in place of the end")
    except ConnectionResetError:
        pass
    except TimeoutError:
        raise Failure(f"still open after {seconds} s") from None
    return time.monotonic() - started


def idle_timeout(env, family):
    """Traffic keeps a flow alive, whoever moves it; silence ends it."""
    env.need_daemon()
    client, server = env.pair(family)
    for _ in range(8):
        ping_pong(client, server, 1, 50)
        time.sleep(0.3)
    took = ended(client, 3)
    check(took > 0.3, f"ended {took + 0.3:.1f} s after the last byte, not 1 s")
    ended(server, 1)


def half_close_timeout(env, family, sender):
    """The open direction keeps the flow alive as long as it is used."""
    env.need_daemon()
    one, other = ends(env, family, sender)
    one.shutdown(socket.SHUT_WR)
    expect_end(other)
    for _ in range(8):
        other.sendall(b"still talking")
        check(one.recv(100) == b"still talking", "the open direction is broken")
        time.sleep(0.3)
    took = ended(one, 3)
    check(took > 0.3, f"ended {took + 0.3:.1f} s after the last byte, not 1 s")


def no_timeout(env, family):
    """half_close_timeout is for half-closed flows only."""
    client, server = env.pair(family)
    expect_silence(client, 2)
    ping_pong(client, server, 1)


def blocked(env, family):
    env.need_daemon()
    listener = env.listen(family)
    expect_refusal(env, listener.getsockname(), family)
    check(not select.select([listener], [], [], 0.1)[0], "the server was reached")


def kill(env, family):
    env.need_ctl()
    client, server = env.pair(family)
    bystanders = env.pair(family)
    ping_pong(client, server, WARM, 100)
    flow = wait_for(lambda: env.daemon.flow_of(client), "the flow is not in the list")
    env.daemon.ctl("flows", "kill", str(flow["id"]))
    expect_reset(client, drain=False)
    expect_reset(server, drain=False)
    ping_pong(*bystanders, 5)


def metrics(env, family):
    """OpenMetrics text; each flow that ends is counted once."""
    env.need_ctl()

    def closed():
        text = env.daemon.ctl("metrics")
        check(text.rstrip().endswith("# EOF"), "no '# EOF' at the end")
        return sum(float(value) for value in re.findall(r"^seam_flows_closed_total\{[^}]*\} (\S+)", text, re.M))

    before = closed()
    for _ in range(3):
        client, server = env.pair(family)
        ping_pong(client, server, 1)
        client.close()
        server.close()
    env.daemon.wait_idle()
    check(closed() - before == 3, f"3 flows ended, counted {closed() - before:g}")


def rst_at_once(env, family):
    """The client gives up before the daemon has noticed that the server answers."""
    client, server = env.pair(family)
    reset(client)
    expect_reset(server, drain=False)


RELAYED = {
    "server-first": (server_first, {}),
    "empty": (empty, {}),
    "byte-by-byte": (byte_by_byte, {}),
    "bare-fin-at-once": (bare_fin_at_once, {}),
    "rst-at-once": (rst_at_once, {}),
    "dial-refused": (dial_refused, {}),
    "kill": (kill, {}),
}
FROM_EACH_SIDE = {
    "half-close": half_close,
    "bare-fin": bare_fin,
    "fin-with-data": fin_with_data,
    "rst-idle": rst_idle,
    "rst-after-fin": rst_after_fin,
    "rst-sending": rst_sending,
    "rst-receiving": rst_receiving,
    "rst-unread": rst_unread,
}


def main():
    suite = Suite()
    for name, config in CONFIGS.items():
        for family in ("v4", "v6"):
            for case, (func, kwargs) in RELAYED.items():
                suite.add(f"semantics/{name}/{family}/{case}", func, config, family=family, **kwargs)
            for temper, warm in (("", 1), ("-warm", WARM)):
                suite.add(f"semantics/{name}/{family}/urgent{temper}", urgent, config, family=family, warm=warm)
                for case, func in FROM_EACH_SIDE.items():
                    for sender in ("client", "server"):
                        suite.add(f"semantics/{name}/{family}/{case}/{sender}{temper}", func, config, family=family,
                                  sender=sender, warm=warm)
    for family in ("v4", "v6"):
        for case, how in (("fin", socket.socket.close), ("rst", reset)):
            suite.add(f"semantics/dial/{family}/gone-{case}", gone_while_dialing, family=family, how=how)
        suite.add(f"semantics/dial/{family}/timeout", dial_timeout, Config(connect_timeout="1s"), family=family)
        suite.add(f"semantics/own-address/{family}/rules", own_address, family=family, guarded=True)
        suite.add(f"semantics/own-address/{family}/daemon", own_address, family=family, guarded=False)
        suite.add(f"semantics/block/{family}", blocked, Config(final="block"), family=family)
        suite.add(f"semantics/metrics/{family}", metrics, family=family)
        for name in ("copy", "sockmap") if family == "v4" else ("splice", "sockmap"):
            quiet, half = Config(name, 0, idle_timeout="1s"), Config(name, 0, half_close_timeout="1s")
            suite.add(f"semantics/{name}/{family}/idle-timeout", idle_timeout, quiet, family=family)
            suite.add(f"semantics/{name}/{family}/no-timeout", no_timeout, half, family=family)
            for sender in ("client", "server"):
                suite.add(f"semantics/{name}/{family}/half-close-timeout/{sender}", half_close_timeout, half,
                          family=family, sender=sender)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
