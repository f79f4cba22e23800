"""dockyard_cookies.py: the token against forged forms is a cookie with the options of the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from support.singleuser import module

cookies = module("dockyard_cookies")

NAME = "JUPYTERHUB_COOKIE_OPTIONS"


def loaded(**settings: Any) -> Any:
    cookies._load_jupyter_server_extension(SimpleNamespace(web_app=SimpleNamespace(settings=settings)))
    return settings["xsrf_cookie_kwargs"]


@pytest.mark.parametrize(
    ("given", "options"),
    [('{"samesite": "Lax", "secure": true}', {"samesite": "Lax", "secure": True}), ("{}", {}), ("", {}), (None, {})],
)
def test_its_options_are_those_of_the_hub(
    monkeypatch: pytest.MonkeyPatch, given: str | None, options: dict[str, Any]
) -> None:
    if given is None:
        monkeypatch.delenv(NAME, raising=False)
    else:
        monkeypatch.setenv(NAME, given)
    assert loaded() == options


def test_what_is_configured_stays_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, '{"samesite": "Lax", "secure": true}')
    configured = {"path": "/user/ann/", "samesite": "Strict"}
    assert loaded(xsrf_cookie_kwargs=configured) == {**configured, "secure": True}
