"""HTTP as bytes, which no client library would send, and addresses as browsers read them."""

from __future__ import annotations

import re
import socket
from urllib.parse import urljoin, urlsplit


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    head = "\r\n".join([line, "Host: hub.test", "Connection: close", *headers])
    return head.encode("latin-1") + b"\r\n\r\n" + body


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
