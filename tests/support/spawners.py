"""Spawner objects without a hub process."""

from __future__ import annotations

import secrets
from types import SimpleNamespace
from typing import Any

from dockerspawner import DockerSpawner

HUB = SimpleNamespace(public_host="", base_url="/hub/", api_url="http://127.0.0.1:8081/hub/api")


def make_spawner(
    username: str = "ann", server: str = "", cls: type[DockerSpawner] = DockerSpawner, **traits: Any
) -> DockerSpawner:
    """Create a spawner as the hub does for a start: with a user, a token, and its base URL if unnamed.

    Any HTTP answer makes a server ready: the tests' tiny servers are not JupyterHub servers.
    """
    if cls.class_traits().keys() >= {"ready_check"}:
        traits.setdefault("ready_check", "http")
    user = SimpleNamespace(name=username, url=f"/user/{username}/", escaped_name=username)
    if server:
        traits["orm_spawner"] = SimpleNamespace(name=server, server=None, display_name=server)
    spawner = cls(user=user, hub=HUB, api_token=secrets.token_hex(16), **traits)
    if not server:
        base_url = f"/user/{username}/"
        spawner._server = SimpleNamespace(base_url=base_url, url=f"http://recorded:1{base_url}", ip="recorded", port=1)
    return spawner
