"""What the hub tells browsers, whose forms it takes, and what its log leaves out."""

from __future__ import annotations

import logging
from urllib.parse import urlparse

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

import web


def request(**headers: str) -> HTTPServerRequest:
    given = HTTPHeaders({name.replace("_", "-"): value for name, value in headers.items()} | {"Host": "hub.test:8000"})
    return HTTPServerRequest(start_line=RequestStartLine("POST", "/hub/login", "HTTP/1.1"), headers=given)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec_Fetch_Site": "same-origin", "Origin": "http://hub.test:8000"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "https://named.otherwise.by.a.proxy.test"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "http://HUB.test:8000"},
        {"Origin": "https://public.test"},
    ],
)
def test_forms_of_the_hubs_own(headers: dict[str, str]) -> None:
    assert web.is_own(request(**headers), urlparse("https://public.test/"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Origin": "http://hub.test:8000"},
        {"Sec_Fetch_Site": ""},
        {"Origin": "https://evil.test"},
        {"Origin": "http://hub.test"},
        {"Origin": "http://hub.test:8000@evil.test"},
        {"Origin": "null"},
        {"Origin": ""},
    ],
)
def test_forms_of_others(headers: dict[str, str]) -> None:
    assert not web.is_own(request(**headers), urlparse("https://public.test/"))
    assert not web.is_own(request(**headers))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("GET /x?token=ab12-_.~/+&y=1 (ann)", "GET /x?token=[secret]&y=1 (ann)"),
        ("to /login?next=%2Fx%3FTOKEN%3Dab12%26y=1", "to /login?next=%2Fx%3FTOKEN%3D[secret]%26y=1"),
        ("to /login?next=%252Fx%253Ftoken%253Dab12", "to /login?next=%252Fx%253Ftoken%253D[secret]"),
        ("Deleted 3 tokens of 100 %", "Deleted 3 tokens of 100 %"),
    ],
)
def test_tokens_in_addresses_are_masked(said: str, shown: str) -> None:
    for message, arguments in ((said, ()), ("%s", (said,))):
        record = logging.LogRecord("hub", logging.INFO, "", 1, message, arguments, None)
        assert web.Masked().filter(record)
        assert record.getMessage() == shown


def test_cookies_are_secure_where_users_type_https() -> None:
    assert web.tornado_settings("https://hub.test")["cookie_options"] == {"samesite": "Lax", "secure": True}
    assert web.tornado_settings("http://hub.test")["cookie_options"] == {"samesite": "Lax"}
