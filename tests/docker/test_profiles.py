"""Profiles through a real hub: chosen by keyboard in a real browser, by REST and by URL, on JupyterHub 6 and 5."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import pytest
import requests
from playwright.sync_api import Page, expect

from support import browser as do
from support.engine import clean
from support.jupyterhub import Hub
from support.prompt import prompt
from support.tiny import tiny_image
from support.user import User
from support.venvs import python_of
from support.wait import wait_until

pytestmark = pytest.mark.needs("engine")

# What the version makes no difference to.
on_the_kits_hub = pytest.mark.parametrize("python", ["jupyterhub6"], indirect=True, scope="module")

SETTINGS = """
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 30}}
c.JupyterHub.load_groups = {{"gpu": {{"users": ["grace"]}}}}
c.DockerSpawner.image = "{image}"
c.DockerSpawner.prefix = c.DockerSpawner.instance = "{instance}"
c.DockerSpawner.network_name = "{network}"
c.DockerSpawner.stop_action = "pause"
c.DockerSpawner.volumes = {{"{instance}-home-{{username}}": "/home/jovyan"}}
c.DockerSpawner.mem_limit = "64M"
c.DockerSpawner.environment = {{"COURSE": "physics"}}

PROFILES = [
    {{"display_name": "Small", "description": "Enough for the exercises."}},
    {{
        "display_name": "Large",
        "description": "For simulations. Please stop it when you are done.",
        "docker_override": {{"image": "{instance}/large:1", "environment": {{"SIZE": "large"}}}},
        "profile_options": {{
            "memory": {{
                "display_name": "Memory",
                "choices": {{
                    "128m": {{"display_name": "128 MB", "docker_override": {{"mem_limit": "128M"}}}},
                    "256m": {{"display_name": "256 MB", "docker_override": {{"mem_limit": "256M"}}}},
                }},
                "unlisted_choice": {{
                    "enabled": True,
                    "display_name": "How much?",
                    "validation_regex": "[1-9][0-9]{{{{1,2}}}}M",
                    "validation_message": "Up to 999M, as in 200M.",
                    "docker_override": {{"mem_limit": "{{value}}"}},
                }},
            }},
        }},
    }},
    {{"display_name": "GPU", "groups": ["gpu"], "docker_override": {{"environment": {{"GPU": "1"}}}}}},
    {{
        "display_name": "Published",
        "docker_override": {{"use_internal_ip": False, "stop_action": "stop", "remove": True}},
    }},
]
TEXT = {{
    "display_name": "Text",
    "profile_options": {{
        "text": {{
            "unlisted_choice": {{
                "enabled": True,
                "validation_regex": "(a+)+$",
                "docker_override": {{"environment": {{"SIZE": "{{value}}"}}}},
            }},
        }},
    }},
}}
EVIL = "<script>document.title='owned'</script>\\"'><img src=x onerror=\\"document.title='owned'\\">"

async def profile_list(spawner):
    return {{
        "mallory": [{{"display_name": EVIL, "slug": "evil", "description": EVIL}}],
        "texter": [TEXT],
        "wrong": [{{"display_name": "A", "docker_override": {{"imgae": "a"}}}}],
    }}.get(spawner.user.name, PROFILES)

c.DockerSpawner.profile_list = profile_list
""".replace("{{{{1,2}}}}", "{{1,2}}")


@pytest.fixture(scope="module", params=["jupyterhub6", "jupyterhub5"])
def python(request: pytest.FixtureRequest) -> str:
    """What runs the hub."""
    return sys.executable if request.param == "jupyterhub6" else python_of(request.param)


@pytest.fixture(scope="module")
def instance(client: docker.DockerClient, python: str) -> Iterator[str]:
    """Depends on `python` so that each hub has one of its own."""
    name = f"dyt{secrets.token_hex(3)}"
    client.images.get(tiny_image()).tag(f"{name}/large", "1")
    yield name
    clean(client, name)
    client.images.remove(f"{name}/large:1")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, instance: str, network: str, python: str) -> Iterator[Hub]:
    settings = SETTINGS.format(image=tiny_image(), instance=instance, network=network)
    hub = Hub(tmp_path_factory.mktemp("hub"), settings, python)
    with hub:
        yield hub


def made_of(client: Any, instance: str, name: str) -> tuple[str, int, dict[str, str]]:
    """The image, the megabytes and what matters of the environment of a user's server."""
    container = client.api.inspect_container(f"{instance}-{name}")
    environment = dict(pair.split("=", 1) for pair in container["Config"]["Env"])
    ours = {name: environment[name] for name in ("COURSE", "SIZE", "GPU") if name in environment}
    image = container["Config"]["Image"].replace(instance, "x")
    return image, container["HostConfig"]["Memory"] >> 20, ours


SMALL = (tiny_image(), 64, {"COURSE": "physics"})


def large(megabytes: int) -> tuple[str, int, dict[str, str]]:
    return "x/large:1", megabytes, {"COURSE": "physics", "SIZE": "large"}


def pid(client: Any, instance: str, name: str) -> int:
    return int(client.api.inspect_container(f"{instance}-{name}")["State"]["Pid"])


def sign_in_to_form(page: Page, user: User) -> None:
    do.fill_in_login(page, user)
    page.goto(f"{user.hub}/hub/spawn")
    expect(page.get_by_role("button", name="Start")).to_be_visible()


def tab_to(page: Page, label: str) -> None:
    """Press Tab until the field of that label has the focus."""
    for _ in range(40):
        if page.get_by_label(label).first.evaluate("field => field === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not come to {label}")


def press_start(page: Page, hub: Hub, name: str) -> None:
    """Start by the form, and come to the server."""
    page.get_by_role("button", name="Start").press("Enter")
    page.wait_for_url(f"**/user/{name}/**")
    wait_for_start(hub, name)


def wait_for_start(hub: Hub, name: str) -> None:
    wait_until(lambda: (hub.user(name)["servers"].get("") or {}).get("ready"), timeout=40, what=f"{name} started")


@on_the_kits_hub
@pytest.mark.needs("browser")
def test_a_profile_is_chosen_by_keyboard_and_remembered(hub: Hub, browser: Any, client: Any, instance: str) -> None:
    ann = User(hub.url, "ann", "any")
    with do.page(browser) as page:
        sign_in_to_form(page, ann)
        expect(page.get_by_role("radio")).to_have_count(3)
        expect(page.get_by_label("Small")).to_be_checked()
        expect(page.get_by_label("Memory")).to_be_hidden()
        do.screenshot(page, "profiles-first")
        tab_to(page, "Small")
        page.keyboard.press("ArrowDown")
        expect(page.get_by_label("Large")).to_be_checked()
        tab_to(page, "Memory")
        expect(page.get_by_label("How much?")).to_be_hidden()
        page.keyboard.type("Other")
        tab_to(page, "How much?")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("/hub/spawn"))
        page.keyboard.type("200M")
        do.screenshot(page, "profiles-large")
        press_start(page, hub, "ann")
        assert made_of(client, instance, "ann") == large(200)

        hub.halt("ann")
        page.goto(f"{hub.url}/hub/spawn")
        expect(page.get_by_label("Large")).to_be_checked()
        expect(page.get_by_label("Memory")).to_have_value("unlisted-choice")
        expect(page.get_by_label("How much?")).to_have_value("200M")
        do.screenshot(page, "profiles-asleep")
        slept = pid(client, instance, "ann")
        press_start(page, hub, "ann")
        assert pid(client, instance, "ann") == slept

        hub.halt("ann")
        page.goto(f"{hub.url}/hub/spawn")
        page.get_by_label("Start afresh").check()
        press_start(page, hub, "ann")
        assert pid(client, instance, "ann") != slept
        assert made_of(client, instance, "ann") == large(200)

        hub.halt("ann")
        page.goto(f"{hub.url}/hub/spawn")
        page.get_by_text("Enough for the exercises.").click()
        press_start(page, hub, "ann")
        assert made_of(client, instance, "ann") == SMALL
    hub.halt("ann")


@on_the_kits_hub
@pytest.mark.needs("browser")
def test_without_scripts_all_is_shown_and_works(hub: Hub, browser: Any, client: Any, instance: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in_to_form(page, User(hub.url, "bob", "any"))
    expect(page.get_by_label("How much?")).to_be_visible()
    page.get_by_label("Large").check()
    page.get_by_label("Memory").select_option("Other...")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".spawn-error-msg")).to_contain_text("The option memory--unlisted-choice is empty.")
    expect(page.get_by_label("Large")).to_be_checked()
    expect(page.get_by_label("Memory")).to_have_value("unlisted-choice")
    do.screenshot(page, "profiles-without-scripts")
    page.get_by_label("Memory").select_option("256 MB")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/bob"))
    wait_for_start(hub, "bob")
    assert made_of(client, instance, "bob") == large(256)
    context.close()
    hub.halt("bob")


@on_the_kits_hub
@pytest.mark.needs("browser")
def test_a_form_with_html_in_its_values_shows_it(hub: Hub, browser: Any) -> None:
    with do.page(browser) as page:
        sign_in_to_form(page, User(hub.url, "mallory", "any"))
        expect(page.get_by_role("radio")).to_have_count(1)
        expect(page.locator("#profiles strong")).to_have_text(re.compile(r"<script>.*</script>\"'><img src=x"))
        assert "owned" not in page.title()
        do.screenshot(page, "profiles-hostile")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"profile": "huge"}, "There is no profile huge. Available profiles: small, large, published."),
        ({"profile": "gpu"}, "There is no profile gpu. Available profiles: small, large, published."),
        ({"profile": "small", "colour": "red"}, "Profile small has no option colour. Available options: fresh."),
        ({"image": "evil"}, "Profile small has no option image. Available options: fresh."),
        ({"profile": "large", "memory": "8g"}, "The option memory has no choice 8g. Available choices: 128m, 256m."),
        (
            {"profile": "large", "memory--unlisted-choice": "9999M"},
            "The option memory can't be 9999M. Up to 999M, as in 200M.",
        ),
    ],
)
def test_by_rest_what_is_not_to_be_had_is_refused_by_name(hub: Hub, options: dict[str, Any], why: str) -> None:
    hub.user("carl")
    refused = hub.http.post(f"{hub.api}/users/carl/server", json=options)
    assert (refused.status_code, refused.json()["message"]) == (400, why)
    assert not hub.is_running("carl")


@on_the_kits_hub
def test_a_refused_start_lets_a_sleeper_sleep(hub: Hub, client: Any, instance: str) -> None:
    assert hub.spawn("fred")[-1].get("ready")
    before = pid(client, instance, "fred")
    hub.halt("fred")
    assert hub.http.post(f"{hub.api}/users/fred/server", json={"profile": "huge"}).status_code == 400
    assert client.api.inspect_container(f"{instance}-fred")["State"]["Status"] == "paused"
    hub.http.post(f"{hub.api}/users/fred/server", json={"profile": "small"}).raise_for_status()
    wait_for_start(hub, "fred")
    assert pid(client, instance, "fred") == before
    hub.halt("fred")


@on_the_kits_hub
def test_by_rest(hub: Hub, client: Any, instance: str) -> None:
    assert hub.spawn("dora")[-1].get("ready")
    assert made_of(client, instance, "dora") == SMALL
    for options, made in (
        ({"profile": "large", "memory": "256m"}, large(256)),
        ({"profile": "large", "memory--unlisted-choice": "99M"}, large(99)),
        (None, large(99)),
        ({"profile": "small"}, SMALL),
    ):
        hub.halt("dora")
        hub.http.post(f"{hub.api}/users/dora/server", json=options).raise_for_status()
        wait_for_start(hub, "dora")
        assert made_of(client, instance, "dora") == made
    hub.halt("dora")


@on_the_kits_hub
def test_spawn_a_text_that_takes_for_ever_to_match_holds_up_nobody(hub: Hub) -> None:
    hub.user("texter")
    hostile = {"text--unlisted-choice": "a" * 30 + "!"}
    with ThreadPoolExecutor() as threads, prompt(hub.http):
        refusing = threads.submit(
            requests.post, f"{hub.api}/users/texter/server", json=hostile, headers=hub.http.headers
        )
        while not refusing.done():
            hub.http.get(f"{hub.api}/users/texter").raise_for_status()
    refused = refusing.result()
    assert (refused.status_code, "takes too long to check" in refused.json()["message"]) == (400, True)
    assert "validation_regex of option text in profile text took more than 1 s" in hub.log
    long = hub.http.post(f"{hub.api}/users/texter/server", json={"text--unlisted-choice": "a" * 100_000})
    assert (long.status_code, len(long.text) < 1_000) == (400, True)


def test_by_url(hub: Hub, client: Any, instance: str) -> None:
    erin = User(hub.url, "erin", "any").sign_in()
    spawn = f"{hub.url}/hub/spawn"
    refused = erin.session.get(spawn, params={"opt-profile": "large", "opt-size": "1"})
    assert refused.status_code == 400
    assert "Profile large has no option size. Available options: memory, fresh." in refused.text
    erin.session.get(spawn, params={"opt-profile": "large", "opt-memory": "256m"})
    wait_for_start(hub, "erin")
    assert made_of(client, instance, "erin") == large(256)
    before = pid(client, instance, "erin")
    hub.halt("erin")
    erin.session.get(spawn, params={"opt-fresh": "1"})
    wait_for_start(hub, "erin")
    assert pid(client, instance, "erin") != before
    assert made_of(client, instance, "erin") == large(256)
    hub.halt("erin")


def test_a_profile_for_a_group(hub: Hub, client: Any, instance: str) -> None:
    grace = User(hub.url, "grace", "any").sign_in()
    assert 'value="gpu"' in grace.session.get(f"{hub.url}/hub/spawn").text
    assert 'value="gpu"' not in User(hub.url, "carl", "any").sign_in().session.get(f"{hub.url}/hub/spawn").text
    hub.http.post(f"{hub.api}/users/grace/server", json={"profile": "gpu"}).raise_for_status()
    wait_for_start(hub, "grace")
    assert made_of(client, instance, "grace") == (tiny_image(), 64, {"COURSE": "physics", "GPU": "1"})
    hub.halt("grace")


@on_the_kits_hub
def test_a_restarted_hub_goes_on_with_the_profiles_of_running_servers(hub: Hub, client: Any, instance: str) -> None:
    hub.user("hugo")
    hub.http.post(f"{hub.api}/users/hugo/server", json={"profile": "published"}).raise_for_status()
    wait_for_start(hub, "hugo")
    hub.kill()
    hub.start()
    wait_until(lambda: hub.is_running("hugo") and hub.visit("hugo") == 404, timeout=60, what="hugo goes on")
    assert "had invalid url" not in hub.log
    hub.halt("hugo")
    assert client.api.containers(all=True, filters={"name": f"{instance}-hugo"}) == []


def test_a_mistake_in_what_a_callable_gives_is_told(hub: Hub) -> None:
    why = "profile_list[0].docker_override.imgae: is not a setting of DockerSpawner: did you mean image?"
    hub.user("wrong")
    failed = hub.http.post(f"{hub.api}/users/wrong/server")
    assert (failed.status_code, why in failed.json()["message"]) == (500, True)
    assert why in hub.log
