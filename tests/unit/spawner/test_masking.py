from __future__ import annotations

from typing import Any

import pytest

from dockerspawner._errors.masking import (
    CUT,
    ERROR_WIDTH,
    HIDDEN,
    LINES,
    SIZE,
    WIDTH,
    excerpt,
    mask,
    secrets_of,
    sentence,
)
from support.growth import FAMILIES, LINEAR, growth


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("nothing to hide", "nothing to hide"),
        ("JUPYTERHUB_API_TOKEN=abc123", f"JUPYTERHUB_API_TOKEN={HIDDEN}"),
        ('{"password": "hunter22", "user": "ann"}', f'{{"password": "{HIDDEN}", "user": "ann"}}'),
        ("GET /?token=abc&x=1", f"GET /?token={HIDDEN}&x=1"),
        ("Authorization: Bearer abcdefgh.ijkl", f"Authorization: Bearer {HIDDEN}"),
        ("Authorization: token 0123456789abcdef", f"Authorization: token {HIDDEN}"),
        ("postgresql://jupyter:s3cret@db/hub", f"postgresql://jupyter:{HIDDEN}@db/hub"),
        ("redis://:s3cret@cache:6379", f"redis://:{HIDDEN}@cache:6379"),
        ("ftp://ann:p@ss:word@host/x@y", f"ftp://ann:{HIDDEN}@host/x@y"),
        ("http://127.0.0.1:8888/lab", "http://127.0.0.1:8888/lab"),
        ("api-key: abc, x_api_key='abc'", f"api-key: {HIDDEN}, x_api_key='{HIDDEN}'"),
        ("password:\n  hunter22", f"password:\n  {HIDDEN}"),
        ("user=token=abc", f"user=token={HIDDEN}"),
        ("site-packages/token.py:12: no key-value: x", "site-packages/token.py:12: no key-value: x"),
        ("403 POST /hub/login?_xsrf=ab|c:d==&x=1 (::1)", f"403 POST /hub/login?_xsrf={HIDDEN}&x=1 (::1)"),
        ("X-XSRFToken: ab, x-csrf: cd", f"X-XSRFToken: {HIDDEN}, x-csrf: {HIDDEN}"),
        ("/cb?code=4/0A%26b&session_state=cd&page=1", f"/cb?code={HIDDEN}&session_state={HIDDEN}&page=1"),
        ("/#id_token=ab&code_verifier=cd", f"/#id_token={HIDDEN}&code_verifier={HIDDEN}"),
        ("?next=%2Fcb%3Fcode%3Dab%2526cd%26page%3D1", f"?next=%2Fcb%3Fcode%3D{HIDDEN}%26page%3D1"),
        ("?next=%252Fx%253F_xsrf%253Dab", f"?next=%252Fx%253F_xsrf%253D{HIDDEN}"),
        ("exit code=137, state=running, key: value", "exit code=137, state=running, key: value"),
        ("Cookie: a=b; c=d\nHost: x", f"Cookie: {HIDDEN}\nHost: x"),
        ('"Set-Cookie": "a=b; Path=/"', f'"Set-Cookie": "{HIDDEN}'),
        ("Proxy-Authorization: Basic YTpi", f"Proxy-Authorization: Basic {HIDDEN}"),
        ("{'Authorization': 'ab'}", f"{{'Authorization': '{HIDDEN}"),
        ("s3cr3s3cr3t-value", f"s3cr3{HIDDEN}"),
        ("a basic example of token use", "a basic example of token use"),
        ("the value s3cr3t-value leaks", f"the value {HIDDEN} leaks"),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    assert mask(text, {"s3cr3t-value", "s3cr3t"}) == masked


def test_secrets_are_told_by_the_names_of_their_variables() -> None:
    environment = {
        "JUPYTERHUB_API_TOKEN": "token-value",
        "DB_PASSWORD": "password-value",
        "AWS_SECRET_ACCESS_KEY": "key-value",
        "API_KEY": "api-value",
        "PASSWORD_FILE_FORMAT": "1",
        "KEYBOARD": "qwertz",
        "PATH": "/usr/bin",
    }
    assert secrets_of(environment) == {"token-value", "password-value", "key-value", "api-value"}


def test_a_value_that_is_not_a_text_is_not_a_secret_or_its_text_is() -> None:
    environment = {"AWS_SECRET_ACCESS_KEY": None, "TOKEN_TTL": 3600, "DB_PASSWORD": 12345678}
    assert secrets_of(environment) == {"12345678"}


def test_each_line_of_a_secret_is_one() -> None:
    key = "-----BEGIN-----\nfirst-line\n  second-line\n"
    text = excerpt(f"second-line\nok\n{key}", secrets_of({"SSH_KEY": key}))
    assert text == f"{HIDDEN}\nok\n{HIDDEN}\n{HIDDEN}\n  {HIDDEN}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        (b"  one\r\ntwo\n", "one\ntwo"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("\ud800", "?"),
        ("\n".join(map(str, range(30))), "\n".join(map(str, range(10, 30)))),
        ("x" * WIDTH, "x" * WIDTH),
        ("x" * (WIDTH + 1), "x" * (WIDTH - 1) + CUT),
        ("\n".join(["first", "y" * 50_000, "last"]), "\n".join(["first", "y" * (WIDTH - 1) + CUT, "last"])),
    ],
)
def test_an_excerpt_is_the_end_in_lines_that_are_cut(text: str | bytes, shown: str) -> None:
    assert excerpt(text) == shown


@pytest.mark.parametrize("unit", ["x", "é", "😀", "token=x ", "a\n", "\n"])
@pytest.mark.parametrize("length", [1, 600, 20_000, 400_000])
def test_an_excerpt_is_bounded(unit: str, length: int) -> None:
    lines = ((unit * length)[:length] + "\n") * 3
    for text in (lines, "\n".join([unit * 2_000] * 40)):
        shown = excerpt(text, tail=LINES + 1)
        assert len(shown.encode()) <= SIZE
        assert len(shown.split("\n")) <= LINES
        assert max(map(len, shown.split("\n"))) <= WIDTH


SECRET = "5ba8c03d9e7f41526374859607a8b9c0"


@pytest.mark.parametrize("place", [0, 1, WIDTH - 40, WIDTH - 20, WIDTH - 2, WIDTH, 16_384 - 10, 400_000])
@pytest.mark.parametrize(
    "line",
    [
        "{secret}",
        "token={long}",
        "Authorization: Bearer {long}",
        "Authorization: token {long}",
        "postgres://user:{long}@db/hub",
        "'password': '{long}'",
    ],
)
def test_no_part_of_a_secret_that_a_cut_goes_through_is_shown(place: int, line: str) -> None:
    def shows_part(text: str) -> bool:
        return any(SECRET[start : start + 4] in text for start in range(len(SECRET) - 3))

    for repeated in (1, 40, 2_000):
        text = "-" * place + " " + line.format(secret=SECRET, long=SECRET * repeated) + " and more" * 40
        for tail in (LINES + 1, 2):
            assert not shows_part(excerpt(text, [SECRET], tail=tail))
            assert line.startswith("{secret") or not shows_part(excerpt(text, tail=tail))
            assert not shows_part(excerpt(f"{text}\nlast line", [SECRET], tail=tail))


@pytest.mark.parametrize("entries", [20, 21, 40])
def test_a_log_that_begins_in_the_middle_of_a_line_does_not_show_the_beginning(entries: int) -> None:
    """Return the end of a log as the engine does: in whole entries, several per long line."""
    value = SECRET * 512 * entries
    log = f"password={value}"[-16_384 * (LINES + 1) :]
    assert SECRET[:4] not in excerpt(log, tail=LINES + 1)
    lines = f"{value[-100:]}\n" + "line\n" * LINES
    assert excerpt(lines, tail=LINES + 1) == "\n".join(["line"] * LINES)


def test_an_error_of_the_engine_is_a_sentence_that_is_bounded() -> None:
    error = ValueError(f"mount of {SECRET} failed: " + "/path" * 10_000)
    assert sentence(error, [SECRET]).startswith(f"mount of {HIDDEN} failed: /path/path")
    assert len(sentence(error, [SECRET])) == ERROR_WIDTH


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("function", [excerpt, lambda text: mask(text, [SECRET, "aaaaaa", "0a1b2c"])])
def test_masking_any_text_costs_no_more_than_its_length(function: Any, family: str) -> None:
    assert growth(function, FAMILIES[family]) < LINEAR
