"""HTTP as bytes, which no client library would send, and addresses as browsers read them."""

from __future__ import annotations

import random
import re
import socket
import ssl
from urllib.parse import urljoin, urlsplit


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    head = "\r\n".join([line, "Host: hub.test", "Connection: close", *headers])
    return head.encode("latin-1") + b"\r\n\r\n" + body


def mutated(chance: random.Random, right: bytes, changes: int, length: int) -> bytes:
    """`right` with up to `changes` places that are others: a byte replaced, fewer than `length` cut out or put in."""
    sent = bytearray(right)
    for _ in range(chance.randint(1, changes)):
        place = chance.randrange(len(sent))
        match chance.randrange(3):
            case 0:
                sent[place] = chance.randrange(256)
            case 1:
                del sent[place : place + chance.randrange(length)]
            case _:
                sent[place:place] = chance.randbytes(chance.randrange(length))
    return bytes(sent)


def said_to_a_stranger(host: str, port: int) -> bytes:
    """How the answer of a server that speaks TLS begins; ssl.SSLError where it wants a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection((host, port), timeout=10)) as connection:
        connection.sendall(request("GET /user/ann/api HTTP/1.1"))
        return connection.recv(100)


def raw(port: int, sent: bytes, hang_up: bool = False) -> bytes:
    """What this machine's `port` says to bytes until it closes the connection; `hang_up`: there is no more to come."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        said = b""
        try:
            connection.sendall(sent)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                said += part
        except ConnectionError:
            # Closed while something was still sent.
            pass
    return said


def first_line(port: int, sent: bytes) -> bytes:
    """The first line that is said to bytes, whatever becomes of the connection."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        try:
            connection.sendall(sent)
            return connection.makefile("rb").readline()
        except ConnectionError:
            return b""


def leads_to(page: str, location: str) -> str:
    """The origin that a browser goes to: as it reads addresses, with `\\` as `/`, without what can't be seen."""
    read = re.sub(r"[\t\r\n]", "", location.strip("".join(map(chr, range(33))))).replace("\\", "/")
    read = re.sub(r"^(https?:)/*", r"\1//", re.sub(r"^/{2,}", "//", read), flags=re.IGNORECASE)
    parts = urlsplit(urljoin(page, read))
    return f"{parts.scheme}://{parts.netloc}"
