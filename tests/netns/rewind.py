"""A client that goes back: TCP_REPAIR moves a live connection to earlier bytes of its own stream.

What it sends next overlaps what the router has received already, as a retransmission does that was cut
otherwise than the first transmission (a sender joins small segments when it retransmits). TCP discards
the overlap; a relay that works with segments has to do so itself.
"""
import socket
import struct

from verdict import check

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_REPAIR_OPTIONS, TCP_REPAIR_WINDOW = 19, 20, 21, 22, 29
REPAIR_ON, REPAIR_OFF_QUIET = 1, -1
RECV_QUEUE, SEND_QUEUE = 1, 2
OPT_WINDOW, OPT_SACK = 3, 4


def _sequence(conn, queue):
    conn.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
    return struct.unpack("I", conn.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, 4))[0]


def rewind(env, conn, family, count):
    """Replaces @conn, all of whose bytes are acknowledged and whose peer is silent, by a socket of the
    same connection whose next byte is @count bytes further back. Timestamps end with the old socket."""
    scales = conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[6]
    local, remote = conn.getsockname()[:2], conn.getpeername()[:2]
    mss = conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)

    conn.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_ON)
    sequences = {queue: _sequence(conn, queue) for queue in (RECV_QUEUE, SEND_QUEUE)}
    window = conn.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, 20)
    conn.close()  # in repair mode: without a word
    sequences[SEND_QUEUE] -= count

    again = env.socket("client", family)
    again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    again.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_ON)
    again.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
    again.bind(local)
    for queue, sequence in sequences.items():
        again.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        again.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, struct.pack("I", sequence & 0xffffffff))
    again.connect(remote)
    options = ((OPT_WINDOW, (scales & 15) | (scales >> 4) << 16), (OPT_SACK, 0))
    again.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_OPTIONS, b"".join(struct.pack("II", *pair) for pair in options))
    again.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, window)  # what the peer granted: it cannot be asked again
    again.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_QUIET)
    check(again.getpeername()[:2] == remote, "the connection could not be taken up again")
    return again
