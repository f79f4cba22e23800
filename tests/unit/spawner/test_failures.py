from __future__ import annotations

import pytest

from dockerspawner.errors import EngineError, Failed, NoSuchImage, NoSuchNetwork, Unavailable
from dockerspawner.failures import HIDDEN, Died, SpawnException, explain, failure, mask, secrets_of


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


def test_secrets_of_values_that_are_no_texts_are_as_the_sdk_writes_them() -> None:
    environment = {
        "AWS_SECRET_ACCESS_KEY": None,
        "TOKEN_TTL": 3600,
        "TOKEN_SEED": 12345678,
        "DB_PASSWORD": b"bytes-value",
        "OTHER_PASSWORD": b"\xff\xfe\xfd-value",
        "SECRET_FLAG": True,
        "SECRET_MAP": {"a": "map-value"},
        7: "lucky-value",
    }
    assert secrets_of(environment) == {"12345678", "bytes-value", "\ufffd\ufffd\ufffd-value", "{'a': 'map-value'}"}


def test_a_failure_is_shown_as_text_and_as_escaped_html() -> None:
    error = failure("No <image>.", reason="image", details="line & line", status=503)
    assert error.jupyterhub_message == "No <image>.\nline & line"  # type: ignore[attr-defined]
    assert error.jupyterhub_html_message == "No &lt;image&gt;.<pre>line &amp; line</pre>"  # type: ignore[attr-defined]
    assert error.status_code == 503  # type: ignore[attr-defined]
    assert error.reason == "image"  # type: ignore[attr-defined]
    if SpawnException is not None:
        assert isinstance(error, SpawnException)


@pytest.mark.parametrize(
    ("died", "how", "reason"),
    [
        (Died(3), "ended with exit code 3", "exited"),
        (Died(137, out_of_memory=True), "ran out of memory (exit code 137)", "oom"),
        (Died(137, out_of_memory=True, memory=2**29), "ran out of memory (512 MiB, exit code 137)", "oom"),
        (Died(127, error="no such file"), "ended with exit code 127: no such file", "exited"),
    ],
)
def test_how_a_server_died(died: Died, how: str, reason: str) -> None:
    assert (str(died), died.reason) == (how, reason)


@pytest.mark.parametrize(
    ("error", "said", "reason"),
    [
        (Unavailable("refused"), "The Docker engine does not answer. Please try again later.", "engine"),
        (NoSuchNetwork("network users not found"), "The Docker network users does not exist.", "network"),
        (NoSuchImage("No such image: x"), "No such image: x", "image"),
        (Failed("port s3cret is taken"), "The server can't be started: port [hidden] is taken", "refused"),
    ],
)
def test_what_the_engine_did_not_do(error: EngineError, said: str, reason: str) -> None:
    explained = explain(error, ["s3cret"])
    assert explained.jupyterhub_message == said
    assert explained.reason == reason
