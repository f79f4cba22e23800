"""Where the hub says that it is, and where it asks a proxy whose name the engine does not resolve."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from dockyard.hub.externalproxy import ExternalProxy, own_address


def test_on_the_network_of_the_proxy(tmp_path: Path) -> None:
    assert own_address("127.0.0.1", tmp_path / "none") == "127.0.0.1"


def test_where_the_proxy_is_not_known(tmp_path: Path) -> None:
    assert own_address("no such name", tmp_path / "none") == "hub"


def test_where_the_proxys_last_address_is_known(tmp_path: Path) -> None:
    last = tmp_path / "proxy-address"
    last.write_text("127.0.0.1")
    assert own_address("no such name", last) == "127.0.0.1"


async def test_a_proxy_whose_name_is_lost_is_asked_at_its_last_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"proxy-api": "10.7.0.3"}

    def resolve(host: str, *_: Any, **__: Any) -> Any:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    last = tmp_path / "proxy-address"
    named = "http://proxy-api:8001"
    proxy = ExternalProxy(api_url=named, auth_token="t" * 40, last_address=str(last))

    async def asked() -> str:
        await proxy._choose_address()
        return str(proxy.api_url)

    assert (await asked(), last.read_text()) == (named, "10.7.0.3")
    address = known.pop("proxy-api")
    assert await asked() == "http://10.7.0.3:8001"
    # A hub that was started again.
    proxy = ExternalProxy(api_url=named, auth_token="t" * 40, last_address=str(last))
    assert await asked() == "http://10.7.0.3:8001"
    known["proxy-api"] = address
    assert await asked() == named
    # Where addresses pass to others, only the name counts.
    known.clear()
    proxy = ExternalProxy(api_url=named, auth_token="t" * 40)
    assert await asked() == named
