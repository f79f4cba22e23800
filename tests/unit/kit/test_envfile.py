"""The sheet .env: what is let pass is read alike by everyone; what is not is said with its line and its mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockyard.hub import envcheck
from dockyard.settings import envfile
from dockyard.settings.fields import Settings
from dockyard.signin.choice import prefixes

GOOD = "\n".join(
    [
        "# a comment",
        "USER_PASSWORD='a b$c#d\"e\\f'",
        f"ADMIN_PASSWORD={'a' * 40}",
        f"COOKIE_SECRET={'0f' * 32}",
        f"PROXY_AUTH_TOKEN={'b' * 64}",
        "DOCKER_GID=0",
        "",
    ]
)


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`check` puts the sheet into the environment, as it does in a process of its own."""
    monkeypatch.setattr("os.environ", {})
    monkeypatch.setattr(envfile, "SECRETS", tmp_path)


def test_a_good_sheet_has_no_mistakes() -> None:
    assert envcheck.check(GOOD) == []


def test_values_come_out_as_they_were_meant() -> None:
    values, mistakes = envfile.read("A='a b$c#d\"e\\f'\nB=\nC=x=y:/@{z}\n\n#D=1\nE=''\n")
    assert mistakes == []
    assert values == {"A": 'a b$c#d"e\\f', "B": "", "C": "x=y:/@{z}", "E": ""}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("PORT=80 # web", "Line 2, PORT, holds blanks"),
        ("ADMIN_USERS=ada grace", "write ADMIN_USERS='...' with single quotes"),
        ("X=a$b", "Line 2, X, holds"),
        ("X=a#b", "Line 2, X, holds"),
        ('X="a b"', "Line 2, X, holds"),
        ("X=a\\b", "Line 2, X, holds"),
        ("X=a'b", "Line 2, X, "),
        (r"X='a\\b'", "read in several ways"),
        (r"X='a\'b'", "read in several ways"),
        ("X='a' # why", "put a comment on a line of its own"),
        ("export X=1", "is not of the form NAME=value"),
        ("X = 1", "is not of the form NAME=value"),
        (" X=1", "Line 2, X, has a blank at its beginning or end"),
        ("X=1 ", "Line 2, X, has a blank at its beginning or end"),
        ("PATH=/opt/bin", "Line 2, PATH, is a variable that the hub's container needs as it is"),
        ("PYTHONPATH=/opt", "Line 2, PYTHONPATH, is a variable"),
        ("just words", "Line 2 is not of the form NAME=value"),
        ("X='a\nb'", "goes over several lines"),
        ("USER_PASSWORD=again-and-again", "USER_PASSWORD is set twice"),
        ("USER_PASSWRD=x", "USER_PASSWRD is not a setting; did you mean USER_PASSWORD?"),
        ("PORTS=1", "PORTS is not a setting; did you mean PORT?"),
        ("COOKIE_SECRET_FIL=x", "did you mean COOKIE_SECRET_FILE?"),
    ],
)
def test_a_bad_line_is_named(line: str, said: str) -> None:
    first, rest = GOOD.split("\n", 1)
    found = envcheck.check(f"{first}\n{line}\n{rest}")
    assert [mistake for mistake in found if said in mistake], found


def test_windows_line_ends_are_one_mistake() -> None:
    assert envcheck.check(GOOD.replace("\n", "\r\n")) == ["The file has Windows line ends: sed -i 's/\\r$//' .env"]


def test_file_that_is_not_text_is_one_mistake() -> None:
    assert envcheck.check(f"{GOOD}X=a\0b\n") == [envcheck._NOT_TEXT]


def test_byte_order_mark_is_a_mistake_before_a_setting_only() -> None:
    assert envcheck.check(f"\ufeff{GOOD}") == []
    _, rest = GOOD.split("\n", 1)
    (said,) = envcheck.check(f"\ufeffPORT=8001\n{rest}")
    assert "Line 1 begins with a byte order mark" in said


def test_a_name_of_the_operators_own_passes() -> None:
    assert envcheck.check(GOOD + "MY_DEPARTMENT=physics\n") == []


def test_line_and_value_mistakes_come_together() -> None:
    found = envcheck.check(GOOD + "PORT=eighty\nLOG_LEVEL=loud\nX=a b\n")
    assert [line.split()[0] for line in found] == ["Line", "PORT", "LOG_LEVEL"]


def test_a_secrets_file_is_looked_up_where_compose_mounts_it(tmp_path: Path) -> None:
    text = GOOD.replace("USER_PASSWORD=", "USER_PASSWORD_FILE=/home/ada/pw\n#").replace("#'a", "#a")
    assert [line for line in envcheck.check(text) if "USER_PASSWORD_FILE (No such file" in line]
    (tmp_path / "user_password").write_text("long enough")
    assert envcheck.check(text) == []


def test_files_that_are_mounted_have_to_be_there(tmp_path: Path) -> None:
    (said,) = envcheck.check(GOOD + "LOGO_FILE=/home/ada/logo.png\n")
    assert said == "LOGO_FILE /home/ada/logo.png cannot be read by the hub's user (No such file or directory)"
    (tmp_path / "logo").write_bytes(b"png")
    assert envcheck.check(GOOD + "LOGO_FILE=/home/ada/logo.png\n") == []


def test_a_trait_of_the_authenticator_is_no_misspelt_setting() -> None:
    assert envcheck.check(GOOD + "AUTH_USERNAME_PATTERN=[a-z]+\n") == []


def test_the_example_names_every_setting_once() -> None:
    lines = envfile.example().splitlines()
    for name in Settings.model_fields:
        assert len([line for line in lines if line.lstrip("#").startswith(f"{name.upper()}=")]) == 1


def test_the_example_as_it_is_is_refused() -> None:
    found = envcheck.check(envfile.example())
    assert {line.split()[0] for line in found} == {
        "USER_PASSWORD", "ADMIN_PASSWORD", "CRYPT_KEY", "COOKIE_SECRET", "PROXY_AUTH_TOKEN", "POSTGRES_PASSWORD",
        "DOCKER_GID",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["GITLAB_CLIENT_ID", "GITLAB_URL", "AUTH0_CLIENT_SECRET", "OKTA_CLIENT_ID", "AUTH_SCOPE"]
)
def test_variables_of_other_services_are_no_mistakes(name: str) -> None:
    assert envfile.unknown([name], prefixes()) == []
