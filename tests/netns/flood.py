#!/usr/bin/python3
"""flood.py DEVICE MAC ADDRESS PORT COUNT [SOURCES [SIZE [SECONDS]]]: COUNT datagrams of SIZE bytes to ADDRESS, a next hop
with MAC, from SOURCES invented addresses (100.64.0.0/10) in turn; 1: from one address of the client's network.
Ends after SECONDS at the latest and prints how many it sent."""
import random
import socket
import struct
import sys
import time

FIRST = 0x64400000


def checksum(head):
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xffff) + (total >> 16)
    return ~((total & 0xffff) + (total >> 16)) & 0xffff


def frames(mac, address, port, count, sources, size):
    """The UDP checksum is 0, none."""
    ether = bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\0\1" + b"\x08\0"
    to, payload = socket.inet_aton(address), bytes(size)
    one = struct.unpack("!I", socket.inet_aton("10.77.1.2"))[0]
    chance = random.Random(3)
    for number in range(count):
        source = one if sources == 1 else FIRST + number % sources
        head = struct.pack("!BBHHHBBHI4s", 0x45, 0, 28 + size, number & 0xffff, 0, 64, 17, 0, source, to)
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        sport = 20000 + number % 40000 if sources == 1 else chance.randint(1024, 65535)
        yield ether + head + struct.pack("!HHHH", sport, port, 8 + size, 0) + payload


def main():
    device, mac, address, port = sys.argv[1:5]
    count, sources, size, seconds = (list(map(int, sys.argv[5:])) + [1000, 1000, 0, 60][len(sys.argv) - 5:])[:4]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((device, 0))
        end, sent = time.monotonic() + seconds, 0
        for frame in frames(mac, address, int(port), count, sources, size):
            try:
                sock.send(frame)
                sent += 1
            except OSError:  # the queue is full
                time.sleep(0.001)
            if sent % 256 == 0 and time.monotonic() > end:
                break
    print(sent)


if __name__ == "__main__":
    main()
