"""unreachable.py: if a server can't reach the hub, its log shows that in one line."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import Any

import pytest

from support.singleuser import module

unreachable = module("unreachable")

URL = "http://hub:8081/hub/api"
# As JupyterHub logs it.
FAILED = "Failed to connect to my Hub at %s (attempt %i/%i). Is it running?"


def caused(cause: BaseException) -> Exception:
    error = RuntimeError("Cannot connect to host")
    error.__cause__ = cause
    return error


@pytest.fixture
def log() -> Any:
    logger = logging.getLogger("tests of unreachable.py")
    logger.filters = [unreachable.OneLine()]
    return logger


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (caused(ConnectionRefusedError(111, "Connect call failed")), "connection refused"),
        (
            caused(socket.gaierror(-2, "Name or service not known")),
            "unknown host name (Name or service not known)",
        ),
        (type("ClientConnectorDNSError", (OSError,), {})(), "unknown host name"),
        (TimeoutError(), "no answer in time"),
        (caused(ssl.SSLError(1, "wrong version")), "TLS failed"),
        (RuntimeError("HTTP 404:\n  Not Found"), "RuntimeError: HTTP 404: Not Found"),
    ],
)
def test_reason(error: Exception, reason: str) -> None:
    assert unreachable.reason(error).startswith(reason)


def test_reason_of_exceptions_that_are_each_others_cause() -> None:
    error = caused(ValueError("x"))
    assert error.__cause__
    error.__cause__.__cause__ = error
    assert unreachable.reason(error) == "RuntimeError: Cannot connect to host"


def test_log_has_one_line_for_the_first_and_one_for_the_last_try(log: Any, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1, 6):
        try:
            raise caused(ConnectionRefusedError())
        except RuntimeError:
            log.exception(FAILED, URL, number, 5)
    first = f"The server can't reach the hub at {URL}: connection refused."
    assert [record.getMessage() for record in caplog.records] == [first, f"{first} The server stops after 5 tries."]
    assert "Traceback" not in caplog.text


def test_log_has_another_reason_and_other_messages_as_they_are(log: Any, caplog: pytest.LogCaptureFixture) -> None:
    for number, error in enumerate((TimeoutError(), ConnectionRefusedError()), 1):
        try:
            raise error
        except OSError:
            log.exception(FAILED, URL, number, 5)
    log.error("Failed to connect to my Hub at %s", "x")
    log.error("100 %")
    messages = [record.getMessage() for record in caplog.records]
    assert [message.rpartition(": ")[2] for message in messages[:2]] == ["no answer in time.", "connection refused."]
    assert messages[2:] == ["Failed to connect to my Hub at x", "100 %"]
