"""The way in: which authenticator AUTH names, and what it is given. Pure: settings in, class and traits out.

`password` is JupyterHub's shared password; the other names are those of oauthenticator's classes. A trait that has no
setting of its own is given as AUTH_<TRAIT>, for all of them alike.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.auth import Authenticator
from oauthenticator.oauth2 import OAuthenticator
from pydantic import SecretStr
from traitlets import TraitError
from traitlets.config import Config

from dockyard.settings import load as settings_load
from dockyard.settings.contradictions import overlays_of
from dockyard.settings.fields import Settings
from dockyard.signin.forms import own_forms
from dockyard.signin.oauth import guarded, teams
from dockyard.signin.throttle import throttled
from dockyard.signin.traits import parse

PREFIX = "AUTH_"
_ALIASES = {"password": "shared-password", "oidc": "generic-oauth"}
# Traits that have a setting of their own.
_SETTINGS = {
    "allowed_users": "ALLOWED_USERS",
    "blocked_users": "BLOCKED_USERS",
    "admin_users": "ADMIN_USERS",
    "allow_all": "ALLOW_ALL",
    "allow_existing_users": "the hub's panel",
    "client_id": "OAUTH_CLIENT_ID",
    "client_secret": "OAUTH_CLIENT_SECRET",
    "oauth_callback_url": "PUBLIC_URL",
    "user_password": "USER_PASSWORD",
    "admin_password": "ADMIN_PASSWORD",
    "allowed_names": "ALLOWED_USERS",
}
_GITHUB_SETTINGS = {
    "client_id": "GITHUB_CLIENT_ID",
    "client_secret": "GITHUB_CLIENT_SECRET",
    "github_url": "GITHUB_URL",
    "allowed_organizations": "GITHUB_ALLOWED_ORGANIZATIONS",
    "admin_groups": "GITHUB_ADMIN_TEAMS",
}
# What the rules of who may enter rest on.
_FIXED = {"enable_auth_state", "entrance"}
_GITHUB_FIXED = {"scope", "manage_groups", "populate_teams_in_auth_state", "auth_state_groups_key"}
# What the hub's database has room for. A form may have megabytes of it, over which the hub would fall silent.
_NAMES = r"^.{1,255}$"
_GITHUB = ("client_id", "client_secret", "url", "allowed_organizations", "admin_teams")


@dataclass
class SignIn:
    """What the hub signs users in with."""

    authenticator: type[Authenticator]
    traits: dict[str, Any]
    crypt_keys: list[bytes] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)


def known() -> dict[str, str]:
    """What AUTH may be: each name with the name of the authenticator's entry point."""
    points = entry_points(group="jupyterhub.authenticators")
    # Those that begin with local- ask for users of the system, of which a container has none.
    found = [p.name for p in points if p.value.startswith("oauthenticator.") and not p.name.startswith("local-")]
    return {name: name for name in found} | _ALIASES


def prefixes() -> tuple[str, ...]:
    """How variables begin that are not settings but have a meaning: AUTH_, GITLAB_, AUTH0_, ..."""
    services = (f"{name.upper()}_" for name in known() if name.isalnum() and name not in {"github", "password"})
    return (PREFIX, *services, "OKTA_")


def sign_in(settings: Settings, environ: Mapping[str, str]) -> SignIn:
    """The authenticator, its traits and all mistakes. `environ` is asked for AUTH_<TRAIT> and the variables in which
    the authenticator looks for its client's id and secret."""
    name = known().get(settings.auth)
    if name is None:
        near = difflib.get_close_matches(settings.auth, known(), n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else f": choose one of {', '.join(sorted(known()))}"
        return SignIn(Authenticator, {}, [], [f"AUTH {settings.auth} is not a known way to sign in{hint}"])
    try:
        (authenticator,) = {point.load() for point in entry_points(group="jupyterhub.authenticators", name=name)}
    except ImportError as error:
        line = f"AUTH={settings.auth} needs a package that the hub's image has not ({error}): see hub/requirements.in"
        return SignIn(Authenticator, {}, [], [line])
    oauth = issubclass(authenticator, OAuthenticator)
    way = _oauth(settings, environ, authenticator) if oauth else _password(settings, authenticator)
    _add_options(way, environ)
    if oauth:
        way.traits["entrance"] = entrance(settings, way.traits)
    way.mistakes += _contradictions(settings)
    if oauth:
        way.mistakes += _nobody(settings, way)
        way.mistakes += _refused_traits(settings, way) if not way.mistakes else []
    return way


def load() -> Settings:
    """Read the settings from the environment. Raises `Mistakes` with all that is wrong, also with the sign-in."""
    return settings_load.load(lambda settings: sign_in(settings, os.environ).mistakes)


def _lower(names: tuple[str, ...]) -> set[str]:
    return {name.lower() for name in names}


def _password(settings: Settings, authenticator: type[Authenticator]) -> SignIn:
    allowed = _lower(settings.allowed_users)
    traits: dict[str, Any] = {
        "username_pattern": _NAMES,
        "allow_all": not allowed,
        "allowed_users": allowed,
        "blocked_users": _lower(settings.blocked_users),
        "admin_users": _lower(settings.admin_users) or {"admin"},
    }
    mistakes = []
    for name in ("user_password", "admin_password"):
        traits[name] = getattr(settings, name).get_secret_value()
        if not traits[name]:
            mistakes.append(_empty(settings, name))
        elif not traits[name].isascii():
            mistakes.append(
                f"{name.upper()} has a character that is not ASCII. No user could sign in: remove that character"
            )
    # The edge is a proxy in front of the kit's proxy, too.
    in_front = settings.proxies_in_front + ("tls" in overlays_of(settings.compose_file))
    guarded_forms = own_forms(throttled(authenticator, in_front))
    return SignIn(guarded_forms, traits, _keys(settings), mistakes)


def _oauth(settings: Settings, environ: Mapping[str, str], authenticator: type[OAuthenticator]) -> SignIn:
    mistakes = []
    github = settings.auth == "github"
    traits: dict[str, Any] = {
        "username_pattern": _NAMES,
        "oauth_callback_url": callback(settings),
        "allow_all": settings.allow_all,
        "allowed_names": _lower(settings.allowed_users),
        "blocked_users": _lower(settings.blocked_users),
        "admin_users": _lower(settings.admin_users),
        "enable_auth_state": True,
        # A page that somebody waits for asks the service again: not for longer than that.
        "http_request_kwargs": {"connect_timeout": 5, "request_timeout": 10},
    }
    for trait in ("client_id", "client_secret"):
        own = f"github_{trait}" if github else f"oauth_{trait}"
        value = getattr(settings, own)
        value = value.get_secret_value() if isinstance(value, SecretStr) else value
        fallback = getattr(authenticator, f"{trait}_env", "")
        traits[trait] = value or (environ.get(fallback, "") if not github and fallback else "")
        if not traits[trait]:
            mistakes.append(_empty(settings, own, f"AUTH={settings.auth} asks for it. "))
    if not settings.public_url:
        mistakes.append(_empty(settings, "public_url", f"AUTH={settings.auth} sends users back to it. "))
    elif (given := urlsplit(callback(settings)).netloc.lower()) != urlsplit(settings.public_url).netloc:
        mistakes.append(
            f"OAUTH_CALLBACK_URL leads to {given}, PUBLIC_URL to {urlsplit(settings.public_url).netloc}: users would "
            "come back to another address than they left. Remove OAUTH_CALLBACK_URL, it follows from PUBLIC_URL"
        )
    if not settings.crypt_key.get_secret_value():
        mistakes.append(
            f"CRYPT_KEY is not set or empty, and AUTH={settings.auth} keeps users' tokens, encrypted by it: write "
            "CRYPT_KEY= and what `openssl rand -hex 32` prints"
        )
    if github:
        traits |= _github(settings)
    return SignIn(guarded(authenticator), traits, _keys(settings), mistakes)


def _github(settings: Settings) -> dict[str, Any]:
    traits: dict[str, Any] = {"github_url": settings.github_url.rstrip("/") or "https://github.com"}
    if settings.github_allowed_organizations or settings.github_admin_teams:
        traits |= {
            "scope": ["read:org"],
            "allowed_organizations": set(settings.github_allowed_organizations),
            "manage_groups": True,
            "populate_teams_in_auth_state": True,
            "auth_state_groups_key": teams,
            "admin_groups": _lower(settings.github_admin_teams),
        }
    return traits


def callback(settings: Settings) -> str:
    """Where the service sends users back to: what is registered there."""
    return settings.oauth_callback_url or f"{settings.public_url}/hub/oauth_callback"


def entrance(settings: Settings, traits: Mapping[str, Any]) -> str:
    """Who may enter, in words for a user who may not."""
    members = [name for name in settings.github_allowed_organizations if ":" not in name]
    groups = [name for name in settings.github_allowed_organizations if ":" in name]
    doors = [f"members of the organization {name}" for name in members]
    doors += [f"members of the team {name}" for name in groups]
    doors += ["the users in its list (ALLOWED_USERS)"] if settings.allowed_users else []
    spoken_of = {"allowed_names", "allowed_organizations"}
    doors += [
        f"{trait.removeprefix('allowed_').replace('_', ' ')} {', '.join(sorted(map(str, value)))}"
        for trait, value in traits.items()
        if trait.startswith("allowed_") and trait not in spoken_of and value
    ]
    said = f"It lets in {', '.join(doors)}, and users whom an administrator added." if doors else (
        "It lets in users whom an administrator added."
    )  # fmt: skip
    if members or groups:
        said += (
            " If you are a member: an owner of the organization may have to approve this application first, under the "
            "organization's settings, Third-party access; then sign in again."
        )
    return said


def _keys(settings: Settings) -> list[bytes]:
    return [bytes.fromhex(key) for key in settings.crypt_key.get_secret_value().split(";") if key]


def _empty(settings: Settings, name: str, why: str = "") -> str:
    return f"{name.upper()} is not set or empty. {why}{type(settings).model_fields[name].description}"


def _add_options(way: SignIn, environ: Mapping[str, str]) -> None:
    """AUTH_<TRAIT> to traits."""
    configurable = way.authenticator.class_traits(config=True)
    github = "github_url" in configurable
    owned = _SETTINGS | (_GITHUB_SETTINGS if github else {})
    fixed = _FIXED | (_GITHUB_FIXED if github else set())
    for variable, text in environ.items():
        trait = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or not text:
            continue
        if trait in owned:
            way.mistakes.append(f"{variable}: this has a setting of its own, {owned[trait]}")
        elif trait in fixed:
            way.mistakes.append(f"{variable} can't be changed: the rules of who may enter rest on it")
        elif trait not in configurable:
            near = difflib.get_close_matches(trait, configurable, n=1)
            hint = f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
            way.mistakes.append(f"{variable}: {way.authenticator.__name__} has no trait {trait}{hint}")
        else:
            try:
                way.traits[trait] = parse(configurable[trait], text)
            except ValueError as error:
                shown = "" if re.search("PASSWORD|SECRET|TOKEN|KEY", variable) else f" (now: {text!r})"
                way.mistakes.append(f"{variable} {error}{shown}")


def _contradictions(settings: Settings) -> list[str]:
    lines = []
    for listed in ("allowed_users", "admin_users"):
        for name in sorted(_lower(getattr(settings, listed)) & _lower(settings.blocked_users)):
            lines.append(f"BLOCKED_USERS and {listed.upper()} both name {name}: remove it from one of the two")
    for name in _GITHUB:
        if settings.auth != "github" and getattr(settings, f"github_{name}"):
            lines.append(f"GITHUB_{name.upper()} is set, but AUTH={settings.auth}: write AUTH=github, or remove it")
    for name in ("github_allowed_organizations", "allowed_users"):
        if settings.allow_all and getattr(settings, name):
            lines.append(f"ALLOW_ALL=true lets everybody in, {name.upper()} some: remove one of the two")
    return lines


def _nobody(settings: Settings, way: SignIn) -> list[str]:
    lists = ("allow", "admin_")
    if any(value for trait, value in way.traits.items() if trait.startswith(lists)):
        return []
    first = "GITHUB_ALLOWED_ORGANIZATIONS, " if settings.auth == "github" else ""
    return [
        f"{first}ALLOWED_USERS or ADMIN_USERS: no user may sign in. AUTH={settings.auth} only proves who a user is. "
        "Name the users in one of these settings, or write ALLOW_ALL=true for all accounts of the service"
    ]


def _refused_traits(settings: Settings, way: SignIn) -> list[str]:
    """What the authenticator itself says of its traits together."""
    log = logging.getLogger("dockyard.signin")
    log.setLevel(logging.CRITICAL)
    try:
        made = way.authenticator(config=Config({way.authenticator.__name__: way.traits}), log=log)
        addresses = ["authorize_url", "token_url"] + ([] if made.userdata_from_id_token else ["userdata_url"])
        empty = [trait.upper() for trait in addresses if not getattr(made, trait)]
    except (TraitError, ValueError) as error:
        return [f"AUTH={settings.auth} with its AUTH_... settings: {error}"]
    except OSError:
        # One that asks its service for addresses can't be made where there is no network.
        return []
    return [
        f"OAUTH2_{name} is not set or empty, and AUTH={settings.auth} asks for it: look in your service's "
        "documentation or its /.well-known/openid-configuration"
        for name in empty
    ]
