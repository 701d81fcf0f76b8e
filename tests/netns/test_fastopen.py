#!/usr/bin/python3
"""tcp_fast_open and tcp_multi_path as the server and the wire see them, both families: what the SYN holds, that no
byte is lost or sent twice, and that the client hears how it ends although connect() says yes before the server does."""
import contextlib
import socket
import sys
import time

from daemon import Config
from lab import SERVICE
from seamtest import Suite
from streams import MIB, Stream, expect_reset, ping_pong, receive, reset_and_close, send, whole_blocks
from verdict import check, wait_for
from wire import Capture, closed, connects, direct, fails, same_bytes, sysctl

KICK_SECONDS = 0.3  # how long a connection with a cookie waits for the client's first bytes


def reach(env, listener, family, say=b""):
    """A client that may speak first, and the server's end."""
    client = env.connect(listener.getsockname(), family)
    if say:
        client.sendall(say)
    return client, env.accept(listener)


@contextlib.contextmanager
def fast_open(env):
    """Both ends may; the router has no cookie yet."""
    env.need_daemon()
    with sysctl(env, "router", tcp_fastopen=1, tcp_fastopen_blackhole_timeout_sec=0), \
            sysctl(env, "server", tcp_fastopen=2):
        env.lab.run("router", "ip", "tcp_metrics", "flush", "all")
        yield


def fast_listener(env, family):
    listener = env.listen(family)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 100)
    return listener


def get_cookie(env, listener, family):
    client, server = reach(env, listener, family, b"first")
    check(server.recv(5, socket.MSG_WAITALL) == b"first", "the first connection is broken")
    server.sendall(b"answer")
    check(client.recv(6, socket.MSG_WAITALL) == b"answer", "the first connection is broken")
    client.close()
    server.close()


def fast_open_data(env, family):
    """The first connection asks for a cookie, the next one's SYN has the client's data."""
    with fast_open(env):
        listener = fast_listener(env, family)
        capture = Capture(env, "wan0", listener.getsockname()[1])
        get_cookie(env, listener, family)
        syns = capture.syns()
        check([packet.options.get(34) for packet in syns] == [b""] and not syns[0].payload,
              f"no question for a cookie: {syns}")
        client, server = reach(env, listener, family, b"hello")
        check(server.recv(5, socket.MSG_WAITALL) == b"hello", "the data of the SYN got lost")
        syns = capture.syns()
        check(len(syns) == 2 and syns[1].options.get(34) and syns[1].payload == b"hello",
              f"no data in the SYN: {syns[1:]}")
        server.sendall(b"answer")
        check(client.recv(6, socket.MSG_WAITALL) == b"answer", "no answer")
        flow = env.daemon.flow_of(client)
        told = [attempt["result"] for attempt in connects(env, client)]
        check(told == ["connected"] and flow["up"]["bytes"] == 5, f"{flow['up']['bytes']} bytes, the trace says {told}")
        same_bytes(env, client, server, MIB)


def fast_open_silent(env, family):
    """Who waits for the server's greeting gets it although nothing is there to send with the SYN."""
    with fast_open(env):
        listener = fast_listener(env, family)
        get_cookie(env, listener, family)
        capture, started = Capture(env, "wan0", listener.getsockname()[1]), time.monotonic()
        client, server = reach(env, listener, family)
        server.sendall(b"220 ready")
        check(client.recv(9, socket.MSG_WAITALL) == b"220 ready", "no greeting")
        took = time.monotonic() - started
        check(took < KICK_SECONDS + 0.2, f"the greeting took {took:.2f} s")
        check(len(capture.syns()) == 1 and capture.syns()[0].options.get(34), f"no cookie was used: {capture.syns()}")
        ping_pong(client, server, 20, 100)


def fast_open_refused(env, family):
    """connect() has said yes before the server says no: the client must hear it all the same."""
    with fast_open(env):
        listener = fast_listener(env, family)
        get_cookie(env, listener, family)
        for say in (b"hello", b""):
            client = env.connect((SERVICE[family], 9), family)
            before, started = closed(env, "dial-failed"), time.monotonic()
            if say:
                client.sendall(say)
            expect_reset(client, 3, drain=False)
            took = time.monotonic() - started
            check(took < KICK_SECONDS + 0.2, f"RST after {took:.2f} s")
            wait_for(lambda before=before: closed(env, "dial-failed") > before, "no flow ended with dial-failed")


def fast_open_much(env, family):
    """More than a SYN can hold, and the FIN right behind: nothing is lost or sent twice."""
    with fast_open(env):
        listener = fast_listener(env, family)
        get_cookie(env, listener, family)
        for size in (1, 1000, 5000, 20000, MIB):
            client, stream = env.connect(listener.getsockname(), family), Stream(size, size)
            sending = env.spawn(send, client, stream)
            receive(env.accept(listener), stream)
            sending.result()


def fast_open_dropped(env, family):
    """Somebody on the way drops SYNs with data: the kernel tries without."""
    with fast_open(env):
        listener = fast_listener(env, family)
        get_cookie(env, listener, family)
        with env.lab.nft(server="tcp flags & (syn | ack) == syn meta length > 100 counter drop"):
            client, server = reach(env, listener, family, b"x" * 200)
            rules = env.lab.run("server", "nft", "list", "table", "inet", "e2e")
        check("counter packets 0 " not in rules, f"nothing was dropped: {rules}")
        check(server.recv(200, socket.MSG_WAITALL) == b"x" * 200, "the data got lost")
        ping_pong(client, server, 5)


def fast_open_black_hole(env, family):
    """connect_timeout counts although connect() says yes at once."""
    with fast_open(env):
        listener = fast_listener(env, family)
        get_cookie(env, listener, family)
        before, clients, started = closed(env, "dial-timeout"), [], time.monotonic()
        with env.lab.nft(server="tcp dport 9 drop"):
            for say in (b"hello", b""):
                clients.append(env.connect((SERVICE[family], 9), family))
                clients[-1].sendall(say)
            for client in clients:
                expect_reset(client, 3, drain=False)
        took = time.monotonic() - started
        check(0.8 < took < 1.3 + KICK_SECONDS, f"RST after {took:.2f} s")
        check(closed(env, "dial-timeout") == before + 2, "not ended with dial-timeout")


def fast_open_gone(env, family):
    """The client goes while its first bytes are waited for: no connection is made, or it is reset."""
    with fast_open(env):
        listener = fast_listener(env, family)
        get_cookie(env, listener, family)
        env.connect(listener.getsockname(), family).close()
        listener.settimeout(KICK_SECONDS + 0.2)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            server = env.accept(listener)
            check(not server.recv(1), "data from nowhere")


MULTI_PATH = Config("auto", enter_after=0, outbound={"tcp_multi_path": True})


def multi_path_pair(env, family, able):
    """By MPTCP if the server is @able to."""
    env.need_ctl()
    with env.lab.inside("server"):
        protocol = socket.IPPROTO_MPTCP if able else socket.IPPROTO_TCP
        listener = socket.socket(socket.AF_INET6 if family == "v6" else socket.AF_INET, socket.SOCK_STREAM, protocol)
    env.open.append(listener)
    listener.settimeout(20)
    listener.bind((SERVICE[family], 0))
    listener.listen()
    client, server = reach(env, listener, family, b"hello")
    check(server.recv(5, socket.MSG_WAITALL) == b"hello", "got something else")
    port = listener.getsockname()[1]
    paths = [line for line in env.lab.run("server", "ss", "-HMn").splitlines() if f":{port} " in line]
    check(bool(paths) == able, f"ss -M says {paths}")
    return client, server


def multi_path(env, family, able):
    """To a server that is able to, and to one that is not: every byte, and never by the sockmap if MPTCP."""
    client, server = multi_path_pair(env, family, able)
    same_bytes_open(env, client, server)
    flow = env.daemon.flow_of(client)
    check(flow["method"] != "sockmap", "MPTCP in the sockmap")
    check(not able or flow["refused"] == "mptcp", f"refused: {flow['refused']}")
    client.shutdown(socket.SHUT_WR)
    check(not server.recv(1), "data in place of FIN")
    server.sendall(b"last words")
    server.shutdown(socket.SHUT_WR)
    check(client.recv(100, socket.MSG_WAITALL) == b"last words", "the last words got lost")


def multi_path_reset(env, family, able):
    for sender in (0, 1):
        ends = multi_path_pair(env, family, able)
        ping_pong(*ends, 3)
        reset_and_close(ends[sender])
        expect_reset(ends[1 - sender], drain=False)
    fails(env, (SERVICE[family], 9), family, "dial-failed", ("Connection refused",))


def same_bytes_open(env, client, server, size=8 * MIB):
    """As same_bytes(), and the connection stays open."""
    up, down = Stream(3, size), Stream(4, size)
    env.together((send, client, up, whole_blocks, False), (receive, server, up, False),
                 (send, server, down, whole_blocks, False), (receive, client, down, False))


def main():
    suite = Suite()
    for family in ("v4", "v6"):
        for func in (fast_open_data, fast_open_silent, fast_open_refused, fast_open_gone, fast_open_much,
                     fast_open_dropped):
            suite.add(f"options/{func.__name__.replace('_', '-')}/{family}", func,
                      Config("auto", enter_after=0, outbound={"tcp_fast_open": True}), family=family)
        for timeout in ("connect_timeout", "dial_timeout"):
            suite.add(f"options/fast-open-black-hole/{family}/{timeout}", fast_open_black_hole,
                      direct(tcp_fast_open=True, **{timeout: "1s"}), family=family)
        for able in (True, False):
            for func in (multi_path, multi_path_reset):
                suite.add(f"options/{func.__name__.replace('_', '-')}/{family}/{'mptcp' if able else 'tcp'}", func,
                          MULTI_PATH, family=family, able=able)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
