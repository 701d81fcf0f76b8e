"""Kit of the end-to-end tests: the lab, the daemon under test, peers, byte-exact streams, reporting.

A test file makes one Suite, adds cases (functions that take the Env first) and calls run(). The lab is
three namespaces, client - router - server; every socket is made inside one of them and used from here,
so a case reads from top to bottom and holds both ends in its hands.
"""
import atexit
import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAB_TOOL = os.environ.get("SEAM_LAB_TOOL", str(ROOT / "tools/lab"))
SEAMD = os.environ.get("SEAMD", str(ROOT / "build/dev/bin/seamd"))  # "none": plain routing
SEAMCTL = os.environ.get("SEAMCTL", str(pathlib.Path(SEAMD).with_name("seamctl")))
PROXY_PORT = 12345
FAMILIES = {"v4": socket.AF_INET, "v6": socket.AF_INET6}
SERVICE = {"v4": "10.77.9.9", "v6": "fd77:9::9"}
ROUTER = {"v4": "10.77.1.1", "v6": "fd77:1::1"}
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error:|LeakSanitizer|WARNING: ThreadSanitizer")
CLONE_NEWNET = 0x40000000
LINGER_RESET = struct.pack("ii", 1, 0)
MIB = 1 << 20

libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """What a case found wrong."""


class Skip(Exception):
    """Why a case cannot run here."""


class TimeUp(BaseException):
    """The case's time is over; not an Exception, so that no retry loop eats it."""


def check(condition, why):
    if not condition:
        raise Failure(why)


def wait_for(condition, why, seconds=5.0, every=0.02):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Failure(f"{why() if callable(why) else why} (waited {seconds:g} s)")
        time.sleep(every)
    return value


# Lab --------------------------------------------------------------------------------------------------

class Lab:
    """Three namespaces from tools/lab, named after this process."""

    def __init__(self):
        self.sweep()
        self.name = f"t{os.getpid()}"
        atexit.register(self.down)
        self.tool("up")
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.ns = {side: os.open(self.path(side), os.O_RDONLY | os.O_CLOEXEC) for side in ("client", "router", "server")}

    @staticmethod
    def sweep():
        """Takes down the labs of test processes that were killed."""
        for path in pathlib.Path("/run/netns").glob("t*-router"):
            owner = re.fullmatch(r"t(\d+)-router", path.name)
            if owner and not pathlib.Path("/proc", owner[1]).exists():
                subprocess.run([LAB_TOOL, "down"], env=os.environ | {"SEAM_LAB": f"t{owner[1]}"}, check=False,
                               capture_output=True)

    def tool(self, *words):
        done = subprocess.run([LAB_TOOL, *words], env=os.environ | {"SEAM_LAB": self.name}, capture_output=True, text=True)
        check(done.returncode == 0, f"{LAB_TOOL} {' '.join(words)}: {done.stdout}{done.stderr}")

    def down(self):
        subprocess.run([LAB_TOOL, "down"], env=os.environ | {"SEAM_LAB": self.name}, check=False, capture_output=True)

    def path(self, side):
        return f"/run/netns/{self.name}-{side}"

    @contextlib.contextmanager
    def inside(self, side):
        """This thread is in the namespace of @side for a while; a socket stays where it was made."""
        if libc.setns(self.ns[side], CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            libc.setns(self.home, CLONE_NEWNET)

    def run(self, side, *argv, stdin=None):
        done = subprocess.run(["nsenter", f"--net={self.path(side)}", *argv], input=stdin, capture_output=True, text=True)
        check(done.returncode == 0, f"{side}: {' '.join(argv)}: {done.stderr}")
        return done.stdout

    @contextlib.contextmanager
    def nft(self, **rules):
        """Adds a table with these input rules, a namespace each; away again at the end."""
        for side, lines in rules.items():
            hook = "prerouting" if side == "router" else "input"
            self.run(side, "nft", "-f", "-", stdin="table inet e2e {\nchain c {\n"
                     f"type filter hook {hook} priority -300; policy accept;\n{lines}\n}}\n}}\n")
        try:
            yield
        finally:
            for side in rules:
                self.run(side, "nft", "delete", "table", "inet", "e2e")

    def loss(self, percent):
        """Every TCP packet may be lost on its way in, wherever it goes: both directions of both legs."""
        rule = f"meta l4proto tcp numgen random mod 1000 < {int(percent * 10)} drop"
        return self.nft(client=rule, router=rule, server=rule)


# Daemon -----------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Config:
    method: str = "auto"
    enter_after: int = 16
    half_close_timeout: str = "60s"
    idle_timeout: str = "0s"
    buffer_limit: str = "16MiB"
    memory_limit: str = "1GiB"
    connect_timeout: str = "5s"
    drain_timeout: str = "5s"
    final: str = "direct"
    max_flows: int = 8192
    nofile: int = 0  # limit of open files, 0: as here

    def text(self, control):
        relay = ("method", "enter_after", "buffer_limit", "memory_limit", "half_close_timeout", "idle_timeout")
        return json.dumps({
            "log": {"level": "info"}, "workers": 2, "control": {"socket": control},
            "inbounds": [{"type": "tproxy", "tag": "in", "listen": "::", "listen_port": PROXY_PORT, "network": "tcp"}],
            "outbounds": [{"type": "direct", "tag": "direct", "routing_mark": 1514, "connect_timeout": self.connect_timeout},
                          {"type": "block", "tag": "block"}],
            "route": {"final": self.final}, "relay": {key: getattr(self, key) for key in relay},
            "limits": {"max_flows": self.max_flows, "drain_timeout": self.drain_timeout}}, indent=1)


class Daemon:
    """seamd in the router namespace; restarted only when a case wants another configuration."""

    def __init__(self, lab):
        self.lab, self.process, self.config, self.log, self.told = lab, None, None, None, 0
        self.folder = tempfile.TemporaryDirectory(prefix="seamtest-")
        self.socket = f"{self.folder.name}/ctl.sock"
        self.present, self.has_ctl = SEAMD != "none", SEAMD != "none" and os.access(SEAMCTL, os.X_OK)
        if self.present:
            check(os.access(SEAMD, os.X_OK), f"no daemon at {SEAMD}")
            lab.tool("rules", "nft", "install")

    def use(self, config):
        if self.present and not (config == self.config and self.alive()):
            self.stop()
            self.start(config)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def start(self, config):
        path = pathlib.Path(self.folder.name, "config.json")
        path.write_text(config.text(self.socket), encoding="utf-8")
        limit = [f"--nofile={config.nofile}:{config.nofile}"] if config.nofile else ["--core=0"]
        self.config, self.told, self.log = config, 0, pathlib.Path(self.folder.name, "stderr")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(["nsenter", f"--net={self.lab.path('router')}", "prlimit", *limit, SEAMD, "run",
                                             "-c", str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: not self.alive() or self.ready(), "seamd is not ready", 15)
        check(self.alive(), f"seamd ended with {self.process.poll()} at start")

    def ready(self):
        listening = re.compile(rf":{PROXY_PORT:04X} 0+:0000 0A")
        if not any(listening.search(pathlib.Path(f"/proc/{self.pid}/net/{name}").read_text(encoding="ascii"))
                   for name in ("tcp", "tcp6")):
            return False
        return not self.has_ctl or subprocess.run([SEAMCTL, "-s", self.socket, "status"], capture_output=True).returncode == 0

    def stop(self, seconds=10):
        """SIGTERM; the daemon must end well and leave nothing behind that a sanitizer would report."""
        if self.process is None:
            return
        process, self.process = self.process, None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failure(f"seamd did not end within {seconds} s of SIGTERM")
        self.verdict(process.returncode)

    def verdict(self, code):
        found = SANITIZER.search(self.log.read_text(errors="replace"))
        check(not found, f"seamd: {found and found[0]}")
        check(code == 0, f"seamd ended with {code}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def log_lines(self):
        return self.log.read_text(errors="replace").splitlines() if self.log else []

    def news(self, most=40):
        """What seamd logged since this was asked last."""
        lines = self.log_lines()
        new, self.told = lines[self.told:], len(lines)
        return new[-most:]

    def ctl(self, *words):
        done = subprocess.run([SEAMCTL, "-s", self.socket, *words], capture_output=True, text=True, timeout=15)
        check(done.returncode == 0, f"seamctl {' '.join(words)}: {done.returncode} {done.stderr.strip()}")
        return done.stdout

    def flows(self):
        return json.loads(self.ctl("-j", "flows", "list"))

    def flow_of(self, client):
        """The entry of the flow whose client is this socket, or None."""
        port = client.getsockname()[1]
        return next((flow for flow in self.flows() if str(flow["source"]).endswith(f":{port}")), None)

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_idle(self, seconds=5):
        """Until no flow is left."""
        if self.has_ctl:
            left = []
            wait_for(lambda: not left.__setitem__(slice(None), self.flows()) and not left,
                     lambda: f"{len(left)} flows left, first {left[0]}", seconds, 0.05)


# Streams ----------------------------------------------------------------------------------------------

PERIOD = 2097169  # prime: no block size divides it, so a lost or repeated block never fits
POOL = random.Random(1514).randbytes(PERIOD) * 2


class Stream:
    """A known sequence of bytes, random but cheap to make: position p holds POOL[(start + p) % PERIOD]."""

    def __init__(self, seed, size):
        self.start, self.size = seed * 700001 % PERIOD, size

    def part(self, position, length):
        begin = (self.start + position) % PERIOD
        return memoryview(POOL)[begin:begin + length]

    def compare(self, position, data):
        """Raises Failure unless @data is what stands at @position."""
        begin = (self.start + position) % PERIOD
        if POOL.startswith(data, begin):
            check(position + len(data) <= self.size, f"{position + len(data) - self.size} bytes too many")
            return
        bad = next(i for i, byte in enumerate(data) if byte != POOL[begin + i])
        found = POOL.find(data[bad:bad + 24])
        shift = (found - begin - bad) % PERIOD
        what = ("foreign bytes" if found < 0 else f"{PERIOD - shift} bytes repeated" if shift > PERIOD // 2
                else f"{shift} bytes missing")
        raise Failure(f"corrupt at byte {position + bad} of {self.size}: {what}")


def whole_blocks(stream):
    for position in range(0, stream.size, MIB):
        yield min(MIB, stream.size - position)


def bursts(stream):
    """Blocks with pauses, so that the queues run empty again and again."""
    for number, length in enumerate(whole_blocks(stream)):
        if number % 3 == 2:
            time.sleep(0.003 + number % 5 * 0.004)
        yield length


def small_writes(stream, low=1, high=3000):
    sizes, left = random.Random(stream.start), stream.size
    while left:
        length = min(sizes.randint(low, high), left)
        left -= length
        yield length


def send(conn, stream, plan=whole_blocks, end=True):
    """Sends the stream, cut as @plan says, then FIN."""
    position = 0
    for length in plan(stream):
        conn.sendall(stream.part(position, length))
        position += length
    if end:
        conn.shutdown(socket.SHUT_WR)


def compare_some(conn, stream, position=0, length=None):
    """Compares what comes with the stream from @position, @length bytes or up to the FIN; returns how many came."""
    taken = 0
    while taken != length:
        data = conn.recv(min(1 << 18, (length or 1 << 62) - taken))
        if not data:
            break
        stream.compare(position + taken, data)
        taken += len(data)
    return taken


def receive(conn, stream, until_end=True):
    """Compares what comes with the stream, up to its last byte or up to the FIN behind it."""
    taken = compare_some(conn, stream, 0, None if until_end else stream.size)
    check(taken == stream.size, f"ended after {taken} of {stream.size} bytes")


def ping_pong(one, other, rounds, length=1):
    for number in range(rounds):
        message = bytes([number & 255]) * length
        for source, target in ((one, other), (other, one)):
            source.sendall(message)
            got = target.recv(length, socket.MSG_WAITALL)
            check(got == message, f"round {number}: {got[:20]!r} in place of {message[:20]!r}")


# Cases ------------------------------------------------------------------------------------------------

class Task(threading.Thread):
    """A thread whose result or exception is handed over by result()."""

    def __init__(self, func, *args, **kwargs):
        super().__init__(daemon=True)
        self.call, self.value, self.error = (func, args, kwargs), None, None
        self.start()

    def run(self):
        func, args, kwargs = self.call
        try:
            self.value = func(*args, **kwargs)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def result(self):
        self.join()
        if self.error:
            raise self.error
        return self.value


class Env:
    """What a case works with. Sockets made here are closed when the case ends."""

    def __init__(self, lab, daemon):
        self.lab, self.daemon, self.open, self.tasks, self.notes = lab, daemon, [], [], []

    def socket(self, side, family="v4"):
        with self.lab.inside(side):
            sock = socket.socket(FAMILIES[family], socket.SOCK_STREAM)
        sock.settimeout(20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open.append(sock)
        return sock

    def listen(self, family="v4", rcvbuf=0, backlog=4096):
        listener = self.socket("server", family)
        if rcvbuf:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        listener.bind((SERVICE[family], 0))
        listener.listen(backlog)
        return listener

    def accept(self, listener):
        conn, _ = listener.accept()
        conn.settimeout(20)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open.append(conn)
        return conn

    def connect(self, address, family="v4", rcvbuf=0):
        client = self.socket("client", family)
        if rcvbuf:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        client.connect(address[:2])
        return client

    def pair(self, family="v4", client_rcvbuf=0, server_rcvbuf=0):
        """Both ends of a new connection through the router."""
        listener = self.listen(family, server_rcvbuf)
        client = self.connect(listener.getsockname(), family, client_rcvbuf)
        server = self.accept(listener)
        listener.close()
        return client, server

    def spawn(self, func, *args, **kwargs):
        self.tasks.append(Task(func, *args, **kwargs))
        return self.tasks[-1]

    def together(self, *calls):
        """Runs calls ((func, args...), ...) at once; the first error wins, and wakes the others."""
        tasks = [self.spawn(*call) for call in calls]
        for task in tasks:
            while task.is_alive() and not any(other.error for other in tasks):
                task.join(0.05)
        for task in tasks:
            if task.error:
                raise task.error
        return [task.value for task in tasks]

    def note(self, text):
        self.notes.append(text)

    def need_daemon(self):
        if not self.daemon.present:
            raise Skip("no daemon")

    def need_ctl(self):
        if not self.daemon.has_ctl:
            raise Skip("no seamctl")

    def close(self):
        """Shutdown wakes threads that a failed case left in recv() or send()."""
        for sock in self.open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for task in self.tasks:
            task.join(5)
        for sock in self.open:
            sock.close()


def where():
    """The line of the test file that the current exception passed through."""
    frames = [frame for frame in traceback.extract_tb(sys.exc_info()[2]) if frame.filename.startswith(str(ROOT)) and frame.filename != __file__]
    return f"in {frames[-1].name}() line {frames[-1].lineno}" if frames else "in the kit"


def reset(conn):
    """RST, now: the disconnect works while another thread waits in send(), where close() would wait for it."""
    if libc.connect(conn.fileno(), bytes(16), 16):  # AF_UNSPEC
        raise OSError(ctypes.get_errno(), "disconnect")


def reset_and_close(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    conn.close()


def expect_reset(conn, seconds=5.0, drain=True):
    """The connection ends with RST, after data or not (@drain)."""
    conn.settimeout(seconds)
    try:
        while data := conn.recv(1 << 18):
            check(drain, f"data in place of RST: {data[:20]!r}")
    except ConnectionResetError:
        return
    except TimeoutError:
        raise Failure(f"no RST within {seconds:g} s") from None
    raise Failure("FIN in place of RST")


def expect_end(conn, seconds=5.0):
    """FIN and no byte before it."""
    conn.settimeout(seconds)
    try:
        data = conn.recv(1 << 16)
    except TimeoutError:
        raise Failure(f"no FIN within {seconds:g} s") from None
    check(not data, f"data in place of FIN: {data[:20]!r}")


def expect_silence(conn, seconds):
    check(not select.select([conn], [], [], seconds)[0], "the connection is readable, it should be silent")


@dataclasses.dataclass
class Case:
    name: str
    func: object
    config: Config
    seconds: float
    kwargs: dict


class Suite:
    """Cases in order, grouped by configuration. Arguments on the command line choose by substring."""

    def __init__(self):
        self.cases, self.failed, self.passed, self.lab = [], 0, 0, None

    def add(self, name, func, config=Config(), seconds=20.0, **kwargs):
        self.cases.append(Case(name, func, config, seconds, kwargs))

    def run(self):
        wanted = sys.argv[1:]
        cases = [case for case in self.cases if not wanted or any(word in case.name for word in wanted)]
        if os.geteuid():
            print("skip all: needs root")
            return 77
        order = list(dict.fromkeys(case.config for case in cases))
        signal.signal(signal.SIGALRM, self.time_up)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        lab = Lab()
        daemon = Daemon(lab)
        try:
            for case in sorted(cases, key=lambda case: order.index(case.config)):
                self.one(case, lab, daemon)
        finally:
            self.stop(daemon)
        return 1 if self.failed else 0 if self.passed else 77

    @staticmethod
    def time_up(*_):
        raise TimeUp

    def one(self, case, lab, daemon):
        if daemon.process is not None and case.config != daemon.config:
            self.stop(daemon)
        env, started, why = Env(lab, daemon), time.monotonic(), ""
        try:
            signal.setitimer(signal.ITIMER_REAL, case.seconds + 20)
            daemon.use(case.config)
            signal.setitimer(signal.ITIMER_REAL, case.seconds)
            case.func(env, **case.kwargs)
        except Skip as reason:
            print(f"skip {case.name}: {reason}", flush=True)
            return
        except TimeUp:
            why = f"not over after {case.seconds:g} s, {where()}"
        except Failure as failure:
            why = str(failure)
        except Exception as error:  # pylint: disable=broad-except
            why = f"{type(error).__name__}: {error}, {where()}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            env.close()
        if not why and daemon.alive():
            try:
                daemon.wait_idle()
            except Failure as failure:
                why = str(failure)
        for text in env.notes:
            print(f"# {case.name}: {text}")
        if not why and daemon.present and daemon.process is not None and not daemon.alive():
            why = f"seamd ended with {daemon.process.poll()}"
        self.report(case.name, why, daemon, f"{time.monotonic() - started:.1f} s")
        if why and not daemon.alive():
            daemon.process = None

    def stop(self, daemon):
        """A line of its own: the daemon's end covers all cases since its start."""
        if daemon.process is None:
            return
        name, why = f"end/{daemon.config.method}-{daemon.config.enter_after}", ""
        try:
            daemon.stop()
        except Failure as failure:
            why = str(failure)
        self.report(name, why, daemon)

    def report(self, name, why, daemon, detail=""):
        news = daemon.news()
        if why:
            self.failed += 1
            print(f"not ok {name}: {why}", flush=True)
            for line in news:
                print(f"#   {line}", flush=True)
        else:
            self.passed += 1
            print(f"ok {name}" + (f"  # {detail}" if detail else ""), flush=True)
