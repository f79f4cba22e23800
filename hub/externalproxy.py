"""The proxy in a container of its own: it may be replaced at any time, and its routes must be back at once."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub.utils import url_path_join
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from traitlets import Float

import culling


def own_address(proxy: str) -> str:
    """Our address on the network on which a proxy has this name; our own name where the proxy's is not known."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: it chooses the way there.
            probe.connect((proxy, 8001))
        except OSError:
            return "hub"
        return str(probe.getsockname()[0])


class ExternalProxy(ConfigurableHTTPProxy):
    """configurable-http-proxy that somebody else starts, watched for a start with an empty table.

    JupyterHub puts missing routes back once in `last_activity_interval`. Here a route of the hub's own is asked for
    every `watch_interval` seconds, and as soon as a proxy answers that it does not know it, all routes are put back.
    """

    watch_interval = Float(2.0, config=True, help="Seconds between two looks at the proxy's table.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.should_start = False
        self._watch: asyncio.Task[None] | None = None

    async def get_all_routes(self) -> Any:
        return culling.without_counted(await super().get_all_routes(), self.app.users.values())

    async def check_routes(self, user_dict: Any, service_dict: Any, routes: Any = None) -> None:
        await super().check_routes(user_dict, service_dict, routes)
        if self._watch is None:
            self._watch = asyncio.create_task(self._put_back(user_dict, service_dict))

    async def _put_back(self, user_dict: Any, service_dict: Any) -> None:
        while True:
            await asyncio.sleep(self.watch_interval)
            try:
                if await self._has_lost_its_routes():
                    self.log.warning("The proxy has lost its routes: putting them back")
                    await self.check_routes(user_dict, service_dict)
            except Exception:
                self.log.exception("Could not put the proxy's routes back; trying again")

    async def _has_lost_its_routes(self) -> bool:
        """True where the proxy says that it does not know the hub; False also where it does not answer."""
        host = self.app.domain if self.host_routing else ""
        url = url_path_join(self.api_url, "api/routes", host, self.app.hub.base_url)
        headers = {"Authorization": f"token {self.auth_token}"}
        try:
            await AsyncHTTPClient().fetch(url.rstrip("/"), headers=headers, request_timeout=5)
        except HTTPClientError as error:
            return bool(error.code == 404)
        except OSError:
            return False
        return False
