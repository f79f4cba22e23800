"""Code of an operator, such as a hook: its errors are its own, never the engine's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tornado.web import HTTPError

from dockerspawner.errors import came_through_door
from dockerspawner.failures import misconfigured
from dockerspawner.templates import TemplateError

# The hub takes each of these for the end of start_timeout, whatever has raised it.
TIMEOUTS = (TimeoutError, asyncio.TimeoutError)


@contextmanager
def operator_code(
    name: str, log: logging.Logger, only: type[Exception] | tuple[type[Exception], ...] = Exception
) -> Iterator[None]:
    """Run code of the setting, or of the overridden method, `name`; errors that it raises are blamed on it.

    - The log gets the traceback, the user one sentence. Only errors of the types `only` are treated so.
    - Errors that have a message for users already, and those of the Docker engine, stay as they are.
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
    """`error` with a message for the user that names the setting or the method; an error for users stays as it is.

    A time-out becomes a failure of its own, for the hub's sake.
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
