"""Failures of a start that are errors of the Docker SDK, too: code that catches those goes on catching them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import requests
from docker.errors import APIError, ImageNotFound, NotFound
from tornado.web import HTTPError

from dockerspawner.errors import Conflict, EngineError, NoSuchImage, Refused, Unavailable

try:
    from jupyterhub.spawner import SpawnException as SpawnException
except ImportError:  # JupyterHub 5
    SpawnException = None

_Base: Any = HTTPError if SpawnException is None else SpawnException

# What the engine answers with errors of a kind, for those that it did not answer.
_STATUS = {NotFound: 404, Conflict: 409, Refused: 400, Unavailable: 503}


class EngineFailure(_Base, APIError):
    """What the hub shows to the user is `jupyterhub_message`, with `status_code`.

    The engine's own answer is `response`, its words are `explanation`.
    """

    # The SDK has a property here, in place of which the hub's classes set an attribute.
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
    """A failure with this text, of the SDK's class that `cause` belongs to."""
    kind = EngineFailure
    if isinstance(cause, NotFound):
        kind = ImageNotFoundFailure if isinstance(cause, NoSuchImage) else NotFoundFailure
    response = cause.response
    if response is None:
        response = _no_answer(cause)
    return kind(text, html, reason, status, cause.explanation, response)


def _no_answer(cause: EngineError) -> requests.Response:
    """A response in place of the one that the engine never sent: its readers expect one."""
    response = requests.Response()
    response.status_code = next((status for kind, status in _STATUS.items() if isinstance(cause, kind)), 500)
    response.reason = HTTPStatus(response.status_code).phrase
    response.url = ""
    return response
