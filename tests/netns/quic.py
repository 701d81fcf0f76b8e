"""QUIC Initials of a client (RFC 9000 17.2.2, RFC 9001 5): a real TLS ClientHello, sealed, in as many datagrams as asked
for."""
import contextlib
import hmac
import os
import ssl

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SALT = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")  # of version 1
SIZE = 1200  # of a datagram with an Initial, at least


def hello(name):
    """The ClientHello alone, without the record around it. ALPN h3, and no QUIC transport parameters."""
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    context.set_alpn_protocols(["h3"])
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()[5:]


def expand(secret, label, length):
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0" + b"\1"
    return hmac.digest(secret, info, "sha256")[:length]


def varint(number):
    return (number | 0x4000).to_bytes(2, "big")


def seal(dcid, number, frames):
    secret = expand(hmac.digest(SALT, dcid, "sha256"), b"client in", 32)
    key, iv, mask_key = (expand(secret, label, length) for label, length in
                         ((b"quic key", 16), (b"quic iv", 12), (b"quic hp", 16)))
    head = b"\xc1" + b"\0\0\0\1" + bytes([len(dcid)]) + dcid + b"\0\0"  # two bytes of packet number
    frames = frames.ljust(SIZE - len(head) - 2 - 2 - 16, b"\0")
    head += varint(2 + len(frames) + 16) + number.to_bytes(2, "big")
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(key).encrypt(nonce, frames, head)
    mask = Cipher(algorithms.AES(mask_key), modes.ECB()).encryptor().update(sealed[2:18])
    first = bytes([head[0] ^ (mask[0] & 0x0f)])
    masked = bytes(byte ^ pad for byte, pad in zip(head[-2:], mask[1:3]))
    return first + head[1:-2] + masked + sealed


def initials(name, count=1):
    """The datagrams of a client that calls @name, its hello in @count pieces."""
    data, dcid = hello(name), os.urandom(8)
    length = -(-len(data) // count)
    return [seal(dcid, number, b"\x06" + varint(at) + varint(len(data[at:at + length])) + data[at:at + length])
            for number, at in enumerate(range(0, len(data), length))]
