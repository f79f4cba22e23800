"""Forced sign-in: the way back from GitHub is for the browser that went there, and for nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from support.user import OAuthUser
from support.wire import leads_to

Users = Callable[[str], OAuthUser]
STAY: dict[str, Any] = {"timeout": 30, "allow_redirects": False}


def way_back(user: OAuthUser, next_: str = "/hub/home") -> str:
    """The hub's address that GitHub sends `user` to, who has not gone there yet."""
    form = user.session.get(f"{user.hub}/hub/oauth_login", params={"next": next_}, timeout=30)
    form.raise_for_status()
    answer = user.session.post(form.url, data={"login": user.name}, **STAY)
    assert answer.status_code == 302
    return answer.headers["Location"]


def changed(address: str, **values: str | None) -> str:
    query = {name: value[0] for name, value in parse_qs(urlsplit(address).query).items()} | values
    return urlsplit(address)._replace(query=urlencode({k: v for k, v in query.items() if v is not None})).geturl()


@pytest.mark.parametrize("victim", ["nowhere yet", "on the way", "signed in"])
def test_the_state_of_somebody_else_signs_nobody_in(user: Users, victim: str) -> None:
    attackers = way_back(user("carla"))
    visitor = user("frida")
    if victim == "on the way":
        way_back(visitor)
    elif victim == "signed in":
        visitor.sign_in()
    answer = visitor.session.get(attackers, **STAY)
    assert answer.status_code in {400, 403}
    assert "jupyterhub-hub-login" not in answer.cookies
    assert visitor.is_signed_in() == (victim == "signed in")
    if victim == "signed in":
        assert visitor.api("GET", "/user").json()["name"] == "frida"


def test_a_code_is_taken_with_its_state_only_and_once(user: Users) -> None:
    visitor = user("frida")
    for wrong in ({"state": None}, {"state": ""}, {"state": "x"}, {"state": "e30="}, {"code": None}):
        back = way_back(visitor)
        answer = visitor.session.get(changed(back, **wrong), **STAY)
        assert 400 <= answer.status_code < 500, wrong
        assert not visitor.is_signed_in()
    back = way_back(visitor)
    assert visitor.session.get(back, **STAY).status_code == 302
    assert visitor.is_signed_in()
    again = requests.Session()
    assert 400 <= again.get(back, **STAY).status_code < 500


@pytest.mark.parametrize("next_", ["//evil.test", "https://evil.test", "/\\evil.test", "\\\\evil.test", "///evil.test"])
def test_the_way_back_leads_to_the_hub(user: Users, next_: str) -> None:
    frida = user("frida")
    answer = frida.session.get(way_back(frida, next_), **STAY)
    assert answer.status_code == 302
    assert leads_to(answer.url, answer.headers["Location"]) == frida.hub
    assert frida.is_signed_in()


def test_the_cookie_of_the_way_is_for_this_browser(user: Users) -> None:
    frida = user("frida")
    way_back(frida)
    (cookie,) = [cookie for cookie in frida.session.cookies if "oauth" in cookie.name]
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Lax"
