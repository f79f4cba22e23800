"""The proxy in a container of its own: it may be replaced at any time, and its routes must be back at once."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub.utils import url_path_join
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from traitlets import Float, Unicode

from dockyard.hub import culling

# An engine may stop resolving names, as after `docker swarm leave`. Containers keep their addresses.
LAST_ADDRESS = Path("/srv/dockyard/data/proxy-address")


def own_address(proxy: str, last: Path = LAST_ADDRESS) -> str:
    """Return the hub's address on the network of the proxy, by the proxy's name or last address; `hub` if both fail."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for address in filter(None, (proxy, read(last))):
            # This sends nothing: it only chooses the route.
            with suppress(OSError):
                probe.connect((address, 8001))
                return str(probe.getsockname()[0])
    return "hub"


def read(last: Path) -> str:
    """Return the recorded address; empty if there is none."""
    with suppress(OSError):
        return last.read_text()
    return ""


def keep(address: str, last: Path) -> None:
    # If the disk is full, the next call records it.
    with suppress(OSError):
        last.write_text(address)


class ExternalProxy(ConfigurableHTTPProxy):
    """configurable-http-proxy that somebody else starts, watched for a start with an empty table.

    JupyterHub puts missing routes back once in `last_activity_interval`. Here a route of the hub's own is asked for
    every `watch_interval` seconds, and as soon as a proxy answers that it does not know it, all routes are put back.
    """

    api_url: Any
    watch_interval = Float(2.0, config=True, help="Seconds between two looks at the proxy's table.")
    last_address = Unicode(
        "",
        config=True,
        help="File with the last address of the proxy, which the hub uses while the engine does not resolve the "
        "proxy's name. Default: no file. Leave it empty if other containers may get that address, as on a swarm.",
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.should_start = False
        # As configured, with a name.
        self._named_url: str = self.api_url
        self._watch: asyncio.Task[None] | None = None

    async def get_all_routes(self) -> Any:
        return culling.without_counted(await super().get_all_routes(), self.app.users.values())

    async def check_routes(self, user_dict: Any, service_dict: Any, routes: Any = None) -> None:
        await super().check_routes(user_dict, service_dict, routes)
        if self._watch is None:
            self._watch = asyncio.create_task(self._put_back(user_dict, service_dict))

    async def api_request(self, path: str, method: str = "GET", body: Any = None) -> Any:
        await self._choose_address()
        return await super().api_request(path, method, body)

    async def _choose_address(self) -> None:
        """Set `api_url` to the proxy's name, or to its last address while the name can't be resolved."""
        if not self.last_address:
            return
        named, last = urlsplit(self._named_url), Path(self.last_address)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(named.hostname, None, family=socket.AF_INET)
        except OSError:
            if known := read(last):
                self._use(named._replace(netloc=f"{known}:{named.port}").geturl())
            return
        self._use(self._named_url)
        address = str(found[0][4][0])
        if address != read(last):
            keep(address, last)

    def _use(self, url: str) -> None:
        if url != self.api_url:
            self.log.warning("The hub now uses the proxy's API at %s", url)
            self.api_url = url

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
        await self._choose_address()
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
