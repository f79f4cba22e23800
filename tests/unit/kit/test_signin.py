"""Settings to an authenticator and its traits; whoever nobody let in stays out, and every contradiction is said."""

from __future__ import annotations

from typing import Any

import pytest

from dockyard.settings.fields import Settings
from dockyard.settings.sources import Mistakes
from dockyard.signin import choice
from dockyard.signin.choice import load
from dockyard.signin.oauth import teams

BASE = {"COOKIE_SECRET": "ab" * 32, "PROXY_AUTH_TOKEN": "p" * 40, "DOCKER_GID": "0", "CRYPT_KEY": "cd" * 32}
PASSWORD = {**BASE, "USER_PASSWORD": "u" * 12, "ADMIN_PASSWORD": "a" * 40}
# What an operator writes into a new .env, where the generated secrets stand, too.
GITHUB = {
    **PASSWORD,
    "AUTH": "github",
    "PUBLIC_URL": "https://hub.example.org/",
    "GITHUB_CLIENT_ID": "the-id",
    "GITHUB_CLIENT_SECRET": "the-secret",
    "GITHUB_ALLOWED_ORGANIZATIONS": "acme,globex:lab",
}
OIDC = {
    **PASSWORD,
    "AUTH": "oidc",
    "PUBLIC_URL": "https://hub.example.org",
    "OAUTH_CLIENT_ID": "the-id",
    "OAUTH_CLIENT_SECRET": "the-secret",
    "OAUTH2_AUTHORIZE_URL": "https://id.example.org/authorize",
    "OAUTH2_TOKEN_URL": "https://id.example.org/token",
    "OAUTH2_USERDATA_URL": "https://id.example.org/userinfo",
    "ALLOWED_USERS": "Ada",
}
ENTRANCE = (
    "It lets in members of the organization acme, members of the team globex:lab, and users whom an administrator "
    "added. If you are a member: an owner of the organization may have to approve this application first, under the "
    "organization's settings, Third-party access; then sign in again."
)
COMMON: dict[str, Any] = {
    "username_pattern": r"^.{1,255}$",
    "oauth_callback_url": "https://hub.example.org/hub/oauth_callback",
    "client_id": "the-id",
    "client_secret": "the-secret",
    "allow_all": False,
    "allowed_names": set(),
    "blocked_users": set(),
    "admin_users": set(),
    "enable_auth_state": True,
    "http_request_kwargs": {"connect_timeout": 5, "request_timeout": 10},
}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    variables: dict[str, str] = {}
    monkeypatch.setattr("os.environ", variables)
    return variables


def traits(environ: dict[str, str], values: dict[str, str], **more: str) -> dict[str, Any]:
    environ.update(values | more)
    way = choice.sign_in(load(), environ)
    assert way.mistakes == []
    return way.traits


def mistakes(environ: dict[str, str], values: dict[str, str], **more: str) -> list[str]:
    environ.update(values | more)
    with pytest.raises(Mistakes) as caught:
        load()
    return caught.value.lines


def test_password_is_the_default(environ: dict[str, str]) -> None:
    assert traits(environ, PASSWORD) == {
        "username_pattern": r"^.{1,255}$",
        "allow_all": True,
        "allowed_users": set(),
        "blocked_users": set(),
        "admin_users": {"admin"},
        "user_password": "u" * 12,
        "admin_password": "a" * 40,
    }


def test_a_sheet_from_before_the_crypt_key_still_works_with_passwords(environ: dict[str, str]) -> None:
    traits(environ, {name: value for name, value in PASSWORD.items() if name != "CRYPT_KEY"})


def test_github_by_four_lines(environ: dict[str, str]) -> None:
    assert traits(environ, GITHUB) == {
        **COMMON,
        "github_url": "https://github.com",
        "scope": ["read:org"],
        "allowed_organizations": {"acme", "globex:lab"},
        "manage_groups": True,
        "populate_teams_in_auth_state": True,
        "auth_state_groups_key": teams,
        "admin_groups": set(),
        "entrance": ENTRANCE,
    }


def test_read_org_is_asked_for_only_where_an_organization_or_team_is_named(environ: dict[str, str]) -> None:
    named = {
        "GITHUB_ALLOWED_ORGANIZATIONS": "",
        "ALLOWED_USERS": "Ada,bert",
        "BLOCKED_USERS": "Eve",
        "ADMIN_USERS": "Ada",
    }
    assert traits(environ, GITHUB, **named) == {
        **COMMON,
        "allowed_names": {"ada", "bert"},
        "blocked_users": {"eve"},
        "admin_users": {"ada"},
        "github_url": "https://github.com",
        "entrance": "It lets in the users in its list (ALLOWED_USERS), and users whom an administrator added.",
    }


def test_administrators_by_team(environ: dict[str, str]) -> None:
    found = traits(environ, GITHUB, GITHUB_ALLOWED_ORGANIZATIONS="", GITHUB_ADMIN_TEAMS="Acme:Ops")
    assert (found["admin_groups"], found["scope"]) == ({"acme:ops"}, ["read:org"])
    of_github = {"organization": {"login": "Acme"}, "slug": "ops"}
    assert teams({"teams": [of_github]}) == ["acme:ops"]
    assert teams({"teams": None}) == []


def test_an_enterprise_server(environ: dict[str, str]) -> None:
    found = traits(environ, GITHUB, GITHUB_URL="https://github.example.org//")
    assert found["github_url"] == "https://github.example.org"


def test_another_service_by_its_own_variables_and_traits(environ: dict[str, str]) -> None:
    more = {
        "AUTH_SCOPE": "openid, profile",
        "AUTH_USERNAME_CLAIM": "email",
        "AUTH_ENABLE_PKCE": "false",
        "AUTH_USERDATA_PARAMS": "a=b,c=d",
        "AUTH_EXTRA_AUTHORIZE_PARAMS": '{"prompt": "login"}',
        "AUTH_AUTH_REFRESH_AGE": "60",
    }
    assert traits(environ, OIDC, **more) == {
        **COMMON,
        "allowed_names": {"ada"},
        "entrance": "It lets in the users in its list (ALLOWED_USERS), and users whom an administrator added.",
        "scope": ["openid", "profile"],
        "username_claim": "email",
        "enable_pkce": False,
        "userdata_params": {"a": "b", "c": "d"},
        "extra_authorize_params": {"prompt": "login"},
        "auth_refresh_age": 60,
    }


def test_a_service_with_variables_of_its_own(environ: dict[str, str]) -> None:
    own = {"OAUTH_CLIENT_ID": "", "OAUTH_CLIENT_SECRET": "", "GITLAB_CLIENT_ID": "g", "GITLAB_CLIENT_SECRET": "s"}
    found = traits(environ, OIDC, AUTH="gitlab", **own)
    assert (found["client_id"], found["client_secret"]) == ("g", "s")


@pytest.mark.parametrize(
    ("base", "more", "said"),
    [
        (PASSWORD, {"USER_PASSWORD": ""}, "USER_PASSWORD is not set or empty"),
        (PASSWORD, {"AUTH": "githup"}, "AUTH githup is not a known way to sign in; did you mean github?"),
        (PASSWORD, {"AUTH": "pam"}, "AUTH pam is not a known way to sign in"),
        (PASSWORD, {"AUTH": "dummy"}, "AUTH dummy is not a known way to sign in"),
        (PASSWORD, {"GITHUB_CLIENT_ID": "x"}, "GITHUB_CLIENT_ID is set, but AUTH=password: write AUTH=github"),
        (PASSWORD, {"ALLOWED_USERS": "eve", "BLOCKED_USERS": "Eve"}, "BLOCKED_USERS and ALLOWED_USERS both name eve"),
        (GITHUB, {"GITHUB_CLIENT_ID": ""}, "GITHUB_CLIENT_ID is not set or empty. AUTH=github asks for it."),
        (GITHUB, {"GITHUB_CLIENT_SECRET": ""}, "GITHUB_CLIENT_SECRET is not set or empty"),
        (GITHUB, {"PUBLIC_URL": ""}, "PUBLIC_URL is not set or empty. AUTH=github sends users back to it."),
        (GITHUB, {"CRYPT_KEY": ""}, "CRYPT_KEY is not set or empty, and AUTH=github keeps users' tokens"),
        (GITHUB, {"CRYPT_KEY": "secret"}, "CRYPT_KEY must be 64 hexadecimal digits"),
        (GITHUB, {"GITHUB_ALLOWED_ORGANIZATIONS": ""}, "GITHUB_ALLOWED_ORGANIZATIONS, ALLOWED_USERS or ADMIN"),
        (GITHUB, {"GITHUB_ALLOWED_ORGANIZATIONS": "Acme Inc."}, "GITHUB_ALLOWED_ORGANIZATIONS has 'Acme Inc.'"),
        (GITHUB, {"GITHUB_ADMIN_TEAMS": "acme"}, "GITHUB_ADMIN_TEAMS has 'acme', which is not of the form org:team"),
        (GITHUB, {"ALLOW_ALL": "true"}, "ALLOW_ALL=true lets everybody in, GITHUB_ALLOWED_ORGANIZATIONS some"),
        (GITHUB, {"OAUTH_CALLBACK_URL": "https://old.example.org/hub/oauth_callback"}, "OAUTH_CALLBACK_URL leads"),
        (GITHUB, {"ADMIN_USERS": "ada", "BLOCKED_USERS": "ada"}, "BLOCKED_USERS and ADMIN_USERS both name ada"),
        (OIDC, {"ALLOWED_USERS": ""}, "ALLOWED_USERS or ADMIN_USERS: no user may sign in"),
        (OIDC, {"OAUTH_CLIENT_ID": ""}, "OAUTH_CLIENT_ID is not set or empty"),
        (OIDC, {"OAUTH2_TOKEN_URL": ""}, "OAUTH2_TOKEN_URL is not set or empty, and AUTH=oidc asks for it"),
        (OIDC, {"AUTH_USERNAME_CLAM": "x"}, "AUTH_USERNAME_CLAM: GenericOAuthenticator has no trait username_clam"),
        (OIDC, {"AUTH_ENABLE_PKCE": "yes"}, "AUTH_ENABLE_PKCE must be true or false (now: 'yes')"),
        (OIDC, {"AUTH_AUTH_REFRESH_AGE": "soon"}, "AUTH_AUTH_REFRESH_AGE must be an int (now: 'soon')"),
        (OIDC, {"AUTH_USERDATA_PARAMS": "a"}, "AUTH_USERDATA_PARAMS must be key=value"),
        (OIDC, {"AUTH_ALLOWED_USERS": "x"}, "AUTH_ALLOWED_USERS: this has a setting of its own, ALLOWED_USERS"),
        (OIDC, {"AUTH_ALLOWED_GROUPS": "x"}, "AUTH=oidc with its AUTH_... settings: GenericOAuth"),
        (OIDC, {"AUTH": "mediawiki"}, "AUTH=mediawiki needs a package that the hub's image has not"),
        (OIDC, {"AUTH": "local-github"}, "AUTH local-github is not a known way to sign in"),
    ],
)  # fmt: skip
def test_a_mistake_is_said(environ: dict[str, str], base: dict[str, str], more: dict[str, str], said: str) -> None:
    found = mistakes(environ, base, **more)
    assert [line for line in found if line.startswith(said)], found
    assert not [line for line in found if "the-secret" in line]


def test_every_name_that_is_offered_can_be_loaded_or_says_why(environ: dict[str, str]) -> None:
    environ.update(OIDC)
    settings = load()
    assert {"password", "github", "oidc", "gitlab", "google", "azuread", "cilogon", "globus"} <= {*choice.known()}
    for name in choice.known():
        way = choice.sign_in(settings.model_copy(update={"auth": name}), environ)
        # What these want besides, in words of their own.
        known = (
            "AUTH=auth0 with its AUTH_... settings: Configuring",
            "GITHUB_CLIENT_",
            "AUTH=mediawiki needs a package",
        )
        assert [line for line in way.mistakes if not line.startswith(known)] == [], name


def test_several_keys(environ: dict[str, str]) -> None:
    environ.update(GITHUB | {"CRYPT_KEY": f"{'ab' * 32};{'cd' * 32}"})
    assert choice.sign_in(load(), environ).crypt_keys == [bytes.fromhex("ab" * 32), bytes.fromhex("cd" * 32)]


def test_secrets_are_settings() -> None:
    for name in ("crypt_key", "github_client_secret", "oauth_client_secret"):
        assert "SecretStr" in str(Settings.model_fields[name].annotation)


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("AUTH_ALLOWED_ORGANIZATIONS", "GITHUB_ALLOWED_ORGANIZATIONS"),
        ("AUTH_CLIENT_ID", "GITHUB_CLIENT_ID"),
        ("AUTH_ENABLE_AUTH_STATE", "can't be changed"),
    ],
)
def test_what_has_a_setting_or_holds_the_rules_is_not_set_otherwise(
    environ: dict[str, str], variable: str, said: str
) -> None:
    environ.update(GITHUB | {variable: "false"})
    with pytest.raises(Mistakes) as caught:
        load()
    assert [line for line in caught.value.lines if line.startswith(variable) and said in line], caught.value.lines


def test_a_refused_user_reads_every_rule(environ: dict[str, str]) -> None:
    assert "groups staff" in traits(environ, OIDC, AUTH_ALLOWED_GROUPS="staff", AUTH_MANAGE_GROUPS="true")["entrance"]
