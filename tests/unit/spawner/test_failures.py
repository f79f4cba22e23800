from __future__ import annotations

from typing import Any

import pytest

from dockerspawner._errors.failures import Died, SpawnException, explain, failure
from dockerspawner._errors.masking import secrets_of
from dockerspawner._errors.translation import EngineError, Failed, NoSuchImage, NoSuchNetwork, Unavailable
from dockerspawner._start.capabilities import lacks_capabilities


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


def restricted(user: str = "root", dropped: Any = ("ALL",)) -> dict[str, Any]:
    return {"Config": {"User": user}, "HostConfig": {"CapDrop": dropped and list(dropped)}}


@pytest.mark.parametrize(
    "log",
    [
        "Running as root\nuserdel: failure while writing /etc/shadow",
        "usermod: cannot lock /etc/passwd; try again later.",
        "chown: changing ownership of '/home/ann': Operation not permitted",
        'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.',
        "sudo: PERM_SUDOERS: setresuid(-1, 1, -1): Operation not permitted",
        "setpriv: setresgid failed: Operation not permitted",
    ],
)
def test_lacks_capabilities_by_the_log_of_a_root_without_them(log: str) -> None:
    for user in ("", "0", "root", "root:users", "0:0"):
        assert lacks_capabilities(restricted(user), log)
    assert not lacks_capabilities(restricted("1000:100"), log)
    assert not lacks_capabilities(restricted(dropped=None), log)
    assert not lacks_capabilities(restricted(dropped=["NET_RAW"]), log)
    assert not lacks_capabilities({"Config": {"User": "root"}}, log)


@pytest.mark.parametrize("log", ["", "ModuleNotFoundError: No module named 'x'", "It also said: sudo make me one"])
def test_lacks_capabilities_of_a_server_that_ended_for_another_reason_is_false(log: str) -> None:
    assert not lacks_capabilities(restricted(), log)
