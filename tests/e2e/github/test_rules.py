"""Who may enter, and for how long: every rule, and GitHub in trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support.github_server import GitHub
from support.kit import Kit
from support.oauth_server import Account
from support.user import OAuthUser, Refused
from support.wait import wait_until

Users = Callable[[str], OAuthUser]


@pytest.fixture
def well_again(github: GitHub) -> Iterator[GitHub]:
    yield github
    github.fault, github.gone = 0, False


def groups(user: OAuthUser) -> list[str]:
    return sorted(user.model()["groups"])


def test_members_teams_and_listed_users_enter(user: Users) -> None:
    ada, bert = user("ada").sign_in(), user("bert").sign_in()
    assert (groups(ada), ada.model()["admin"]) == (["acme:lab", "acme:ops"], True)
    assert (groups(bert), bert.model()["admin"]) == (["globex:lab"], False)
    user("frida").sign_in()


def test_the_name_admin_makes_no_administrator(user: Users) -> None:
    assert user("admin").sign_in().model()["admin"] is False


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mallory", r"mallory is blocked on this hub \(BLOCKED_USERS\)"),
        (
            "stranger",
            "signed in at GitHub as stranger, who may not enter this hub. It lets in members of the organizat",
        ),
    ],
)
def test_others_are_refused(user: Users, name: str, said: str) -> None:
    with pytest.raises(Refused, match=f"^403 (.|\n)*{said}"):
        user(name).sign_in()


def test_who_was_added_in_the_panel_enters_and_stays(user: Users) -> None:
    with pytest.raises(Refused):
        user("guest").sign_in()
    ada = user("ada").sign_in()
    assert ada.api("POST", "/users/guest").status_code == 201
    guest = user("guest").sign_in()
    assert guest.is_signed_in()
    user("guest").sign_in()
    assert ada.api("DELETE", "/users/guest").status_code == 204
    with pytest.raises(Refused):
        user("guest").sign_in()


def test_who_leaves_the_organization_is_out(user: Users, github: GitHub) -> None:
    carla = user("carla").sign_in()
    github.accounts["carla"].organizations.clear()
    wait_until(lambda: not carla.is_signed_in(), timeout=20)
    with pytest.raises(Refused, match="carla, who may not enter"):
        user("carla").sign_in()


def test_a_renamed_user_is_a_new_one_and_the_old_name_opens_nothing(user: Users, github: GitHub) -> None:
    dora = user("dora").sign_in()
    account = github.accounts.pop("dora")
    account.login = "dora2"
    github.accounts["dora2"] = account
    wait_until(lambda: not dora.is_signed_in(), timeout=20)
    assert user("dora2").sign_in().model()["name"] == "dora2"

    # GitHub gives the free name to somebody else, who is a member, too.
    github.accounts["dora"] = Account("dora", 4321, organizations={"acme"})
    with pytest.raises(Refused, match="The name dora belongs to another account of GitHub"):
        user("dora").sign_in()
    assert user("ada").sign_in().api("DELETE", "/users/dora").status_code == 204
    user("dora").sign_in()


def test_a_revoked_token_means_to_sign_in_again_and_the_server_stays(
    registered: Kit, user: Users, github: GitHub
) -> None:
    bert = user("bert").sign_in().started()
    container = registered.server_of("bert").id
    github.revoke("bert")
    wait_until(lambda: not bert.is_signed_in(), timeout=20)
    assert registered.server_of("bert").id == container
    assert user("bert").sign_in().model()["servers"][""]["ready"]
    again = user("bert").sign_in()
    again.stop()


@pytest.mark.parametrize("trouble", ["500", "429", "unreachable"])
def test_github_in_trouble(user: Users, well_again: GitHub, trouble: str) -> None:
    """Who is in stays in; who comes reads whose fault it is, and that it will pass."""
    frida = user("frida").sign_in()
    newcomer = user("bert")
    # The way back from GitHub, where the browser has just been.
    agreed = newcomer.session.get(f"{newcomer.hub}/hub/oauth_login", timeout=30).url
    answer = newcomer.session.post(agreed, data={"login": "bert"}, allow_redirects=False, timeout=30)
    asked = len(well_again.calls)
    well_again.gone = trouble == "unreachable"
    well_again.fault = 0 if well_again.gone else int(trouble)
    wait_until(lambda: frida.is_signed_in() and len(well_again.calls) > asked, timeout=20)
    page = newcomer.session.get(answer.headers["Location"], timeout=30)
    assert page.status_code == 502
    assert "GitHub does not answer the hub" in page.text


def test_a_wrong_client_secret_is_said(user: Users, github: GitHub) -> None:
    right, github.client_secret = github.client_secret, "another"
    try:
        with pytest.raises(Refused, match="client_id and/or client_secret are incorrect"):
            user("frida").sign_in()
    finally:
        github.client_secret = right


def test_what_is_kept_of_a_sign_in_is_encrypted(registered: Kit, user: Users, github: GitHub) -> None:
    user("frida").sign_in()
    database = registered.container("hub").exec_run(["cat", "/srv/dockyard/data/jupyterhub.sqlite"]).output
    assert b"frida" in database
    assert not [token for token in github.tokens if token.encode() in database]


def test_up_says_what_to_register(registered: Kit) -> None:
    said = registered.make("up").stdout
    assert f"Dockyard is up:  {registered.url}\n" in said
    assert "Users sign in with github." in said
    assert "Members of acme,globex:lab may enter." in said
    assert f"The callback to register there: {registered.url}/hub/oauth_callback" in said


def test_nothing_starts_without_a_client_or_a_list(registered: Kit) -> None:
    kept = registered.env_file.read_text()
    try:
        lists = ("GITHUB_ALLOWED_ORGANIZATIONS", "GITHUB_ADMIN_TEAMS", "ALLOWED_USERS", "BLOCKED_USERS", "ADMIN_USERS")
        registered.write_env(GITHUB_CLIENT_ID="", CRYPT_KEY=None, **dict.fromkeys(lists))
        done = registered.run("scripts/check", check=False)
    finally:
        registered.env_file.write_text(kept)
    assert done.returncode != 0
    for said in ("GITHUB_CLIENT_ID is not set or empty", "CRYPT_KEY is not set or empty", "no user may sign in"):
        assert said in done.stdout
