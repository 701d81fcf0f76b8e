"""Runs end-to-end cases: functions that take the Env first, collected in a Suite.

Every socket is made inside a namespace of the lab and used from here, so a case reads from top to bottom and
holds both ends of a connection in its hands.
"""
import contextlib
import dataclasses
import os
import signal
import socket
import sys
import threading
import time
import traceback

from daemon import Config, Daemon, missing
from lab import ROOT, SERVICE, Lab
from verdict import Failure, Skip, TimeUp

FAMILIES = {"v4": socket.AF_INET, "v6": socket.AF_INET6}


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

    def together(self, *calls, at_first=contextlib.nullcontext(), seconds=float("inf")):
        """Runs calls ((func, args...), ...) at once, the first @seconds inside @at_first; the first error wins."""
        with at_first:
            tasks = [self.spawn(*call) for call in calls]
            self.settle(tasks, seconds)
        self.settle(tasks)
        for task in tasks:
            if task.error:
                raise task.error
        return [task.value for task in tasks]

    @staticmethod
    def settle(tasks, seconds=float("inf")):
        """Until all are over, or one has failed, or the time is up."""
        deadline = time.monotonic() + seconds
        for task in tasks:
            while task.is_alive() and time.monotonic() < deadline and not any(other.error for other in tasks):
                task.join(0.05)

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
    frames = [frame for frame in traceback.extract_tb(sys.exc_info()[2])
              if frame.filename.startswith(str(ROOT)) and frame.filename != __file__]
    return f"in {frames[-1].name}() line {frames[-1].lineno}" if frames else "in the kit"


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
        lacking = "needs root" if os.geteuid() else missing()
        if lacking:
            print(f"skip all: {lacking}")
            return 77
        order = []
        for case in cases:
            if case.config not in order:
                order.append(case.config)
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
