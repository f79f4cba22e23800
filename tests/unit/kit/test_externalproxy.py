"""Where the hub says that it is."""

from __future__ import annotations

from externalproxy import own_address


def test_on_the_network_of_the_proxy() -> None:
    assert own_address("127.0.0.1") == "127.0.0.1"


def test_where_the_proxy_is_not_known() -> None:
    assert own_address("no such name") == "hub"
