"""The readiness check of a started server, and its error messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.spawner import Spawner
from jupyterhub.utils import fmt_ip_url, url_path_join
from traitlets import CaselessStrEnum

from dockerspawner._core import Core
from dockerspawner._errors.failures import failure, misconfigured
from dockerspawner._networks.networking import is_own
from dockerspawner._settings.deprecations import is_replaced
from dockerspawner._start import readiness
from dockerspawner._start.certificates import Certs
from dockerspawner._start.failures import Failures
from dockerspawner._start.readiness import NotReady, Verdict, WrongServer

JUPYTERHUB, HTTP = "jupyterhub", "http"
# Seconds of tries at an address that a subclass chose: possibly only the hub itself reaches it.
OTHER_ADDRESS = 10.0

Monitor = Callable[[], Coroutine[Any, Any, None]]


class ReadySettings(Core):
    """Which answer makes a started server ready."""

    ready_check = CaselessStrEnum(
        [JUPYTERHUB, HTTP],
        JUPYTERHUB,
        config=True,
        help="""Answer that makes a started server ready. jupyterhub: an answer of JupyterHub's single-user server, with
        the header X-JupyterHub-Version, at the user's base URL. http: any HTTP answer, for an image that runs
        another server on purpose. Default: jupyterhub.""",
    )


class ReadyCheck:
    """Readiness check: the user's own JupyterHub server answers, or, with "http", any HTTP server."""

    def __init__(self, server: ReadySettings, certs: Certs, failures: Failures) -> None:
        self._server = server
        self._certs = certs
        self._failures = failures

    @property
    def _base_url(self) -> str:
        return str(self._server.server.base_url) if self._server.server else "/"

    def _judge(self) -> readiness.Judge:
        if self._server.ready_check == HTTP:
            return readiness.any_answer
        return readiness.own_server(self._base_url, self._server.oauth_client_id)

    async def answers_at(self, host: str, port: int, timeout: float) -> bool:
        """Does this server answer at that address now?"""
        try:
            asking = readiness.ask(host, port, url_path_join(self._base_url, "api"), self._certs.tls_context())
            return self._judge()(await asyncio.wait_for(asking, timeout)) is Verdict.READY
        except asyncio.TimeoutError:
            return False

    def check_hub_url(self, environment: Mapping[str, str], hosts: Iterable[str]) -> None:
        """Fail if the hub's URL in the server's environment points to the server's own container.

        `hosts` are entries of the container's /etc/hosts, as `name:address` or `address name`.
        """
        url = environment.get("JUPYTERHUB_API_URL") or ""
        host = urlsplit(url).hostname or ""
        is_elsewhere = any(entry.startswith(f"{host}:") or entry.endswith(f" {host}") for entry in hosts)
        if self._server.ready_check != JUPYTERHUB or not is_own(host) or is_elsewhere:
            return
        path = urlsplit(self._server.hub.api_url).path
        given = (
            self._server.hub.api_url
            if self._server.hub_connect_url is None
            else url_path_join(self._server.hub_connect_url, path)
        )
        if url != given:
            change = "JUPYTERHUB_API_URL in the setting environment must be a URL that servers reach"
        elif self._server.hub_connect_url is not None:
            change = "Spawner.hub_connect_url must be an address of the hub that servers reach"
        else:
            change = "JupyterHub.hub_ip and hub_connect_ip must be addresses that servers reach"
        raise misconfigured(
            f"Servers can't reach the hub at {url}: in a container, {host} is that container. {change}."
        )

    async def wait(self, host: str, port: int, started: float, deadline: float, monitor: Monitor) -> None:
        """Return when the server is ready; `monitor` raises a failure if the server's process ends."""
        path = url_path_join(self._base_url, "api")
        url = f"{self._server.scheme}://{fmt_ip_url(host)}:{port}{path}"
        timeout = max(self._server._attempt.clock.least_tries, deadline - time.monotonic())
        other_address = is_replaced(self._server, "get_ip_and_port")
        if other_address:
            timeout = min(timeout, OTHER_ADDRESS)
        try:
            await readiness.ready(host, port, path, monitor, timeout, self._certs.tls_context(), self._judge())
        except WrongServer as error:
            raise self._wrong_server(url, error) from None
        except NotReady as error:
            if other_address or self._hub_waits_longer(started):
                self._server.log.warning(
                    "%s does not answer yet; the hub waits up to http_timeout", self._server.object_name
                )
                return
            raise await self._not_ready(url, error) from None

    def _wrong_server(self, url: str, error: WrongServer) -> Exception:
        if error.verdict is Verdict.NOT_JUPYTERHUB:
            self._server.log.error(
                "%s (image %s, command %s) answers at %s with status %i, but without the header X-JupyterHub-Version. "
                "Set cmd to jupyterhub-singleuser, or ready_check to http if the image runs another server on purpose.",
                self._server.object_name,
                self._server.image,
                self._server.cmd or "of the image",
                url,
                error.answer.status,
            )
            sentence = (
                f"The server answers at {url}, but it is not JupyterHub's single-user server: the image's command is "
                "not jupyterhub-singleuser. Ask an administrator to correct the image or its command."
            )
        else:
            self._server.log.error(
                "At %s a JupyterHub server answers with status %i, which is not %s. Either another server has taken "
                "the port, or the image's configuration changes base_url, which JUPYTERHUB_SERVICE_PREFIX sets.",
                url,
                error.answer.status,
                self._server.object_name,
            )
            sentence = (
                f"A JupyterHub server answers at {url}, but it is not yours. "
                "Ask an administrator to look for another server on that port, or for a changed base_url in the image."
            )
        # Without the log, which is full of entries for these requests.
        return failure(sentence, reason="wrong-server")

    async def _not_ready(self, url: str, error: NotReady) -> Exception:
        if error.answer is None:
            host = urlsplit(url).hostname or ""
            sentence = f"The server is running, but nothing answers at {url}. {self._server._why_silent(host)}"
        else:
            sentence = (
                f"The server is running, but is not ready: it answers with status {error.answer.status} at {url}."
            )
        if (queued := self._server._attempt.clock.queued) >= 1:
            sentence += f" Before its start, it waited {queued:.0f} s for other servers to start."
        return failure(sentence, reason="timeout", details=await self._failures.details())

    def _hub_waits_longer(self, started: float) -> bool:
        """Did the operator set an http_timeout that has not expired for this server?"""
        default: Any = Spawner.http_timeout.default_value
        return bool(self._server.http_timeout != default and time.monotonic() - started < self._server.http_timeout)
