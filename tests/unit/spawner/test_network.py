from __future__ import annotations

from typing import Any

import pytest

from dockerspawner.errors import Gone
from dockerspawner.network import internal_address, published_address


def container(**settings: Any) -> dict[str, Any]:
    return {"NetworkSettings": {"Networks": {}, "Ports": {}, **settings}}


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ({"IPAddress": "172.18.0.2", "GlobalIPv6Address": "fd00::2"}, "172.18.0.2"),
        ({"IPAddress": "", "GlobalIPv6Address": "fd00::2"}, "fd00::2"),
    ],
)
def test_internal_addresses(entry: dict[str, str], address: str) -> None:
    assert internal_address(container(Networks={"users": entry}), "users") == address


def test_a_network_that_the_container_is_not_on_is_named() -> None:
    with pytest.raises(Gone, match=r"not on network users \(it is on: bridge\)"):
        internal_address(container(Networks={"bridge": {}}), "users")
    with pytest.raises(Gone, match="no address on network users"):
        internal_address(container(Networks={"users": {"IPAddress": ""}}), "users")


@pytest.mark.parametrize(
    ("bound", "address"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "10.0.0.1"), ("::", "10.0.0.1")]
)
def test_published_addresses(bound: str, address: str) -> None:
    ports = {"8888/tcp": [{"HostIp": bound, "HostPort": "32768"}]}
    assert published_address(container(Ports=ports), 8888, "10.0.0.1") == (address, 32768)


def test_a_port_that_is_not_published_is_named() -> None:
    with pytest.raises(Gone, match="port 8888"):
        published_address(container(), 8888, "127.0.0.1")
