"""One log line if the server can't reach the hub, with the address and the reason."""

from __future__ import annotations

import logging
import socket
import ssl

# JupyterHub logs this for each try, with a traceback of a hundred lines. Its arguments: address, number, tries.
_BEGINS = "Failed to connect to my Hub at"


def reason(error: BaseException) -> str:
    """Describe an exception by its first known cause, else by the exception itself."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        if isinstance(cause, socket.gaierror):
            return f"unknown host name ({cause.strerror})"
        # From aiohttp's own resolver.
        if type(cause).__name__ == "ClientConnectorDNSError":
            return "unknown host name"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed ({cause.reason if hasattr(cause, 'reason') else cause})"
        cause = cause.__cause__ or cause.__context__
    return " ".join(f"{type(error).__name__}: {error}".split())


class OneLine(logging.Filter):
    """Replace the traceback of a failed try with its reason; drop the entry if the reason is the same as before."""

    def __init__(self) -> None:
        super().__init__()
        self._said = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(_BEGINS) or not record.exc_info or record.exc_info[1] is None:
            return True
        address, number, tries = (*(record.args if isinstance(record.args, tuple) else ()), "?", 0, 0)[:3]
        said = f"The server can't reach the hub at {address}: {reason(record.exc_info[1])}."
        is_last, is_new = number == tries, said != self._said
        self._said = said
        record.msg, record.args, record.exc_info, record.exc_text = said, (), None, None
        if is_last:
            record.msg += f" The server stops after {tries} tries."
        return is_new or is_last


def install() -> None:
    logging.getLogger("JupyterHubSingleUser").addFilter(OneLine())
