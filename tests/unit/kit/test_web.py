"""What the hub tells browsers, whose forms it takes, and what its log leaves out."""

from __future__ import annotations

import logging
import sys
import time
import timeit
from urllib.parse import urlparse

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from dockyard.hub import logmask, web
from dockyard.signin import forms


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
    assert forms.is_own(request(**headers), urlparse("https://public.test/"))


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
    assert not forms.is_own(request(**headers), urlparse("https://public.test/"))
    assert not forms.is_own(request(**headers))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("GET /x?token=ab12-_.~/+&y=1 (ann)", "GET /x?token=[secret]&y=1 (ann)"),
        ("to /login?next=%2Fx%3FTOKEN%3Dab12%26y=1", "to /login?next=%2Fx%3FTOKEN%3D[secret]%26y=1"),
        ("to /login?next=%252Fx%253Ftoken%253Dab12", "to /login?next=%252Fx%253Ftoken%253D[secret]"),
        ("Deleted 3 tokens of 100 %", "Deleted 3 tokens of 100 %"),
        ("403 POST /hub/login?_xsrf=2|a:b==&y=1 (::1): no", "403 POST /hub/login?_xsrf=[secret]&y=1 (::1): no"),
        ("/x?next=%2Fcb%3Fcode%3Da%2526b%26y%3D1", "/x?next=%2Fcb%3Fcode%3D[secret]%26y%3D1"),
        ("/cb?code=4/0A%2Fb%26c&state=eyJ&session_state=x", "/cb?code=[secret]&state=[secret]&session_state=[secret]"),
        (
            "/x?next=%2Fcb%3Fcode%3Da%252Bb%26state%3Dc%26y%3D1",
            "/x?next=%2Fcb%3Fcode%3D[secret]%26state%3D[secret]%26y%3D1",
        ),
        ("uri='/x?state=abc', version='HTTP/1.1'", "uri='/x?state=[secret]', version='HTTP/1.1'"),
        ("at https://x/#access_token=a.b&id_token=c.d", "at https://x/#access_token=[secret]&id_token=[secret]"),
        (
            "/x?client_secret=a&password=b&code_verifier=c",
            "/x?client_secret=[secret]&password=[secret]&code_verifier=[secret]",
        ),
        ("ended with exit code=137, state=running", "ended with exit code=137, state=running"),
        ("/x?token=[secret]&code=[secret]", "/x?token=[secret]&code=[secret]"),
        ('  "X-Xsrftoken": "ab\\"12",', '  "X-Xsrftoken": "[secret]",'),
        ('  "Cookie": "_xsrf=ab; b=\\"c\\"",', '  "Cookie": "_xsrf=[secret]; b=[secret]",'),
        ('  "Cookie": "Invalid Cookie: Illegal key \'ab\'",', '  "Cookie": "[secret]",'),
        ('  "Authorization": "Bearer [secret]",', '  "Authorization": "Bearer [secret]",'),
        ("{'Authorization': 'ab12', 'Host': 'x'}", "{'Authorization': '[secret]', 'Host': 'x'}"),
        (
            "Set-Cookie: a=b; Path=/\nX-API-Key: cd\nHost: x",
            "Set-Cookie: a=[secret]; Path=[secret]\nX-API-Key: [secret]\nHost: x",
        ),
        ("new xsrf cookie for b'ab:cd==' {'path': '/hub/'}", "new xsrf cookie for b'[secret]' {'path': '/hub/'}"),
        (
            "oauth state argument 'ab' != cookie u-oauth-state-x='cd'",
            "oauth state argument '[secret]' != cookie u-oauth-state-x='[secret]'",
        ),
        ("OAuth state mismatch: ab != cd", "OAuth state mismatch: [secret]"),
        ("Failed to b64-decode state: ab", "Failed to b64-decode state: [secret]"),
        (
            "answered {'access_token': 'ab', \"id_token\": \"cd\"}",
            "answered {'access_token': '[secret]', \"id_token\": \"[secret]\"}",
        ),
        ("Proxy-Authorization: Basic YTpi", "Proxy-Authorization: Basic [secret]"),
        ("X-Forwarded-Access-Token: ab", "X-Forwarded-Access-Token: [secret]"),
    ],
)
def test_secrets_in_addresses_and_headers_are_masked(said: str, shown: str) -> None:
    for message, arguments in ((said, ()), ("%s", (said,))):
        record = logging.LogRecord("hub", logging.INFO, "", 1, message, arguments, None)
        assert logmask.Masked().filter(record)
        assert record.getMessage() == shown


def test_masked_a_call_whose_arguments_do_not_fit_is_left_to_the_handler() -> None:
    record = logging.LogRecord("hub", logging.INFO, "", 1, "%s of %s", ("one",), None)
    assert logmask.Masked().filter(record)
    assert (record.msg, record.args) == ("%s of %s", ("one",))


def test_masked_a_traceback_with_secrets_hides_them() -> None:
    try:
        raise RuntimeError("no answer from https://x.test/?code=ab12")
    except RuntimeError:
        record = logging.LogRecord("hub", logging.ERROR, "", 1, "failed", (), sys.exc_info())
    assert logmask.Masked().filter(record)
    shown = logging.Formatter().format(record)
    assert "RuntimeError: no answer from https://x.test/?code=[secret]" in shown
    assert "ab12" not in shown


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "token",
        "&code",
        "?codecodecode",
        "%25",
        "%2525263D",
        "token%3D",
        "x-a-",
        "cookie:",
        '"cookie": "\\',
        "oauth-state",
    ],
)
def test_mask_a_text_four_times_as_long_takes_no_sixteen_times_as_long(unit: str) -> None:
    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        # Of this process alone: other programs slow it, but do not count.
        return min(timeit.repeat(lambda: logmask.mask(text), timer=time.process_time, number=1, repeat=3))

    assert seconds(2**18) < 10 * seconds(2**16) + 0.01


def test_cookies_are_secure_where_users_type_https() -> None:
    assert web.tornado_settings("https://hub.test")["cookie_options"] == {"samesite": "Lax", "secure": True}
    assert web.tornado_settings("http://hub.test")["cookie_options"] == {"samesite": "Lax"}
