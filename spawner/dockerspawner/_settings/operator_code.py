"""Errors of operator code, such as a hook: they are never treated as engine errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tornado.web import HTTPError

from dockerspawner._errors.failures import misconfigured
from dockerspawner._errors.translation import came_through_door
from dockerspawner._settings.templates import TemplateError

# The hub treats each of these as the end of start_timeout, regardless of its origin.
TIMEOUTS = (TimeoutError, asyncio.TimeoutError)


@contextmanager
def operator_code(
    name: str, log: logging.Logger, only: type[Exception] | tuple[type[Exception], ...] = Exception
) -> Iterator[None]:
    """Run code of the setting or overridden method `name`; attribute its errors to `name`.

    - The log gets the traceback, and the user one sentence. This applies only to errors of the types `only`.
    - Errors that already have a message for users, and engine errors, do not change.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, only):
            raise
        blamed = blame(name, error, log)
        if blamed is error:
            raise
        raise blamed from error


def blame(name: str, error: Exception, log: logging.Logger) -> Exception:
    """Add a message for the user that names the setting or method; an error for users does not change.

    Returns a failure instead of a timeout, which the hub would treat as the end of start_timeout.
    """
    if isinstance(error, HTTPError | TemplateError) or hasattr(error, "jupyterhub_message") or came_through_door(error):
        return error
    log.error("%s failed: %s: %s", name, type(error).__name__, error, exc_info=error)
    failed = misconfigured(f"The server can't be started: {name} failed.")
    if isinstance(error, TIMEOUTS):
        return failed
    for attribute in ("jupyterhub_message", "jupyterhub_html_message"):
        setattr(error, attribute, getattr(failed, attribute))
    return error
