"""A raw HTTP/2 client over TLS: sends any frames in any order and reads only when asked to."""

import socket
import ssl
import struct
import time
from collections import Counter

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(values=None):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in (values or {}).items()))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def header_block(path, method="GET", headers=()):
    """Without references to the dynamic table, so blocks may be sent in any order."""
    fields = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path), *headers]
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields], huffman=False)


def request(stream, path, method="GET", headers=(), end=True):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, header_block(path, method, headers))


def tls(site, brand, alpn=("h2",), source="127.0.0.1", timeout=8, receive_buffer=None):
    context = ssl.create_default_context(cafile=site.ca)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    plain = socket.socket()
    try:
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.settimeout(timeout)
        plain.bind((source, 0))
        plain.connect(("127.0.0.1", site.port(brand)))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(plain, server_hostname="localhost")
    except BaseException:
        plain.close()
        raise


class Connection:
    """`statuses` counts responses by status, `resets` counts RST_STREAM frames, `closed` is why the connection ended."""

    def __init__(self, site, brand, source="127.0.0.1", values=None):
        self.socket = tls(site, brand, source=source)
        self.decoder = hpack.Decoder()
        self.decoder.max_header_list_size = 1 << 20
        self.received, self.closed = b"", None
        self.statuses, self.resets, self.finished = Counter(), 0, 0
        self.send(PREFACE + settings(values))

    def send(self, data):
        if not self.closed:
            try:
                self.socket.settimeout(2)
                self.socket.sendall(data)
            except OSError as error:
                self.closed = type(error).__name__
        return not self.closed

    def poll(self, seconds):
        """Reads and counts what arrives within that time."""
        deadline = time.monotonic() + seconds
        while not self.closed:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError):
                return
            except OSError as error:
                self.closed = type(error).__name__
                return
            if not data:
                self.closed = "closed"
                return
            self.received += data
            self._frames()

    def _frames(self):
        while len(self.received) >= 9:
            length = int.from_bytes(self.received[:3], "big")
            if len(self.received) < 9 + length:
                return
            kind, flags = self.received[3], self.received[4]
            payload, self.received = self.received[9 : 9 + length], self.received[9 + length :]
            if kind == SETTINGS and not flags & ACK:
                self.send(frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                self.send(frame(PING, ACK, 0, payload))
            elif kind == HEADERS:
                for name, value in self.decoder.decode(payload):
                    if name == ":status":
                        self.statuses[value] += 1
                self.finished += flags & END_STREAM
            elif kind == DATA:
                self.finished += flags & END_STREAM
            elif kind == RST_STREAM:
                self.resets += 1

    def close(self):
        self.socket.close()
