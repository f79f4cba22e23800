"""Failures of a start that are also errors of the Docker SDK, so that existing except clauses catch them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import requests
from docker.errors import APIError, ImageNotFound, NotFound
from tornado.web import HTTPError

from dockerspawner._errors.translation import Conflict, EngineError, NoSuchImage, Refused, Unavailable

try:
    from jupyterhub.spawner import SpawnException as SpawnException
except ImportError:  # JupyterHub 5
    SpawnException = None

_Base: Any = HTTPError if SpawnException is None else SpawnException

# Status codes for errors that the engine did not answer itself.
_STATUS = {NotFound: 404, Conflict: 409, Refused: 400, Unavailable: 503}


class EngineFailure(_Base, APIError):  # type: ignore[misc]
    """A failure whose `jupyterhub_message` the hub shows to the user, with `status_code`.

    `response` is the engine's answer, and `explanation` its text.
    """

    # A property in the SDK, but an attribute in the hub's classes.
    status_code = 500

    def __init__(
        self,
        text: str,
        html: str,
        reason: str,
        status: int,
        explanation: str | None,
        response: requests.Response,
    ) -> None:
        if SpawnException is None:
            _Base.__init__(self, status, "%s", text, reason=reason)
        else:
            _Base.__init__(self, text, reason=reason, message_html=html, status_code=status)
        self.jupyterhub_message = text
        self.jupyterhub_html_message = html
        self.explanation = explanation
        self.response: requests.Response = response
        self.request = response.request
        self._arguments = (text, html, reason, status, explanation, response)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments

    def is_client_error(self) -> bool:
        return 400 <= self.response.status_code < 500

    def is_server_error(self) -> bool:
        return 500 <= self.response.status_code < 600


class NotFoundFailure(EngineFailure, NotFound):
    pass


class ImageNotFoundFailure(NotFoundFailure, ImageNotFound):
    pass


def engine_failure(cause: EngineError, text: str, html: str, reason: str, status: int) -> EngineFailure:
    """Create a failure with this text, of the same SDK class as `cause`."""
    kind = EngineFailure
    if isinstance(cause, NotFound):
        kind = ImageNotFoundFailure if isinstance(cause, NoSuchImage) else NotFoundFailure
    response = cause.response
    if response is None:
        response = _no_answer(cause)
    return kind(text, html, reason, status, cause.explanation, response)


def _no_answer(cause: EngineError) -> requests.Response:
    """Create a substitute response for a call that the engine never answered: readers of the error expect one."""
    response = requests.Response()
    response.status_code = next((status for kind, status in _STATUS.items() if isinstance(cause, kind)), 500)
    response.reason = HTTPStatus(response.status_code).phrase
    response.url = ""
    return response
