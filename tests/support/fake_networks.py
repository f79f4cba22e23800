"""A fake of the Docker client with networks, and isolated servers on it."""

from __future__ import annotations

import itertools
from typing import Any

from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner


class FakeNetworks(FakeClient):
    """An engine with networks, and a hub and a proxy on one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, dict[str, Any]] = {}
        self.orders: list[tuple[str, ...]] = []
        self._ids = itertools.count()
        for role in ("hub", "proxy"):
            self.replace(role)

    def replace(self, role: str) -> None:
        self.existing[role] = {
            "Id": f"{role}-{next(self._ids)}",
            "Name": f"/{role}",
            "Config": {"Labels": {}, "Hostname": ""},
            "HostConfig": {"NetworkMode": "kit"},
            "State": {"Running": True},
            "NetworkSettings": {"Networks": {"kit": {"Aliases": [role]}}},
        }
        self.emit("start", role)

    def _order(self, *order: str) -> None:
        self._call(order[0])
        self.orders.append(order)

    def networks(self) -> list[dict[str, Any]]:
        self._call("networks")
        return list(self.made.values())

    def inspect_network(self, name: str) -> dict[str, Any]:
        self._call("inspect_network")
        return self.made[name]

    def create_network(self, name: str, labels: dict[str, str] | None = None, **settings: Any) -> dict[str, str]:
        self._order("create_network", name)
        if name in self.made:
            raise api_error(409, f"network with name {name} already exists")
        self.made[name] = {"Name": name, "Labels": labels or {}, "IPAM": settings["ipam"], "Id": name}
        return {"Id": name}

    def remove_network(self, name: str) -> None:
        self._order("remove_network", name)
        if self.made.pop(name, None) is None:
            raise api_error(404, f"network {name} not found")

    def connect_container_to_network(self, key: str, network: str, aliases: Any = None) -> None:
        self._order("connect", self._find(key)[0], network)
        self._find(key)[1]["NetworkSettings"]["Networks"][network] = {"Aliases": aliases}

    def disconnect_container_from_network(self, key: str, network: str, force: bool) -> None:
        self._order("disconnect", self._find(key)[0], network)
        if self._find(key)[1]["NetworkSettings"]["Networks"].pop(network, None) is None:
            raise api_error(500, f"container {key} is not connected to the network {network}")

    def create_container(self, **spec: Any) -> dict[str, Any]:
        created = super().create_container(**spec)
        on = {spec["host_config"]["NetworkMode"], *spec.get("networking_config", {}).get("EndpointsConfig", {})}
        self.existing[spec["name"]]["NetworkSettings"]["Networks"] |= {one: {"IPAddress": "127.0.0.1"} for one in on}
        return created

    def on(self, role: str) -> set[str]:
        return set(self.existing[role]["NetworkSettings"]["Networks"]) - {"kit"}


def isolated(client: FakeClient, port: int, name: str = "ann", engine: Any = None, **traits: Any) -> Any:
    settings = {
        "image": "tiny",
        "remove": True,
        "port": port,
        "quick_timeout": 2,
        "network_isolation": "per-user",
        "attached_containers": ["hub", "proxy"],
        "hub_connect_url": "http://hub:8081",
    }
    return make_spawner(name, engine=engine or fake_engine(client), **{**settings, **traits})
