"""Byte-exact streams, and what a connection is expected to do."""
import ctypes
import random
import select
import socket
import struct
import time

from verdict import Failure, check

MIB = 1 << 20
LINGER_RESET = struct.pack("ii", 1, 0)
LIBC = ctypes.CDLL(None, use_errno=True)
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


def reset(conn):
    """RST, now: the disconnect works while another thread waits in send(), where close() would wait for it."""
    if LIBC.connect(conn.fileno(), bytes(16), 16):  # AF_UNSPEC
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
