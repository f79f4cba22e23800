"""Profiles in a spawner: what a start has of them, and what is left afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

from dockerspawner import DockerSpawner, SwarmSystemUserSpawner, SystemUserSpawner
from dockerspawner._errors.failures import explain
from dockerspawner._errors.translation import NoSuchNetwork, Refused, meaning
from dockerspawner._images.images import Reference
from dockerspawner._profiles import profiles, text_check
from dockerspawner._profiles.cache import ProfileCache
from dockerspawner._profiles.choice import Choice, Option, Profile
from dockerspawner._profiles.form import form, options_of
from dockerspawner._profiles.list import read
from dockerspawner._profiles.overrides import SHARED
from dockerspawner._settings.naming import dns_escape, fit, legacy_escape
from support.fake_engine import FakeClient, api_error, fake_engine
from support.growth import FAMILIES, LINEAR, growth
from support.spawners import make_spawner
from support.wait import until

GIB = 1024**3


async def two_gpus(spawner: Any) -> int:
    return 2


PROFILES: list[dict[str, Any]] = [
    {"display_name": "Plain"},
    {
        "display_name": "Large",
        "docker_override": {
            "image": "large:1",
            "mem_limit": lambda spawner: "4G",
            "cpu_limit": "2",
            "gpus": two_gpus,
            "network_name": "users",
            "port": lambda spawner: 7000,
            "environment": {"SIZE": "large", "KEEP": None},
            "volumes": {"data-{username}": "/data"},
            "cmd": ["serve", "-v"],
        },
    },
    {"display_name": "Staff", "groups": ["staff"], "docker_override": {"mem_limit": "8G"}},
    {
        "display_name": "Own",
        "profile_options": {
            "image": {
                "choices": {"a": {"docker_override": {"image": "a:1"}}},
                "unlisted_choice": {
                    "enabled": True,
                    "validation_regex": "own:.+",
                    "validation_message": "Own images only.",
                    "docker_override": {"image": "{value}", "environment": {"IMAGE": "{value}"}},
                },
            },
            "limit": {"unlisted_choice": {"enabled": True, "docker_override": {"mem_limit": "{value}"}}},
        },
    },
]

CONFIGURED: dict[str, Any] = {
    "image": "plain:1",
    "mem_limit": lambda spawner: "1G",
    "cpu_limit": 1,
    "environment": {"KEEP": "1", "MORE": "2"},
    "volumes": {"home-{username}": "/home"},
}


def spawner_with(listed: Any = None, groups: tuple[str, ...] = (), **traits: Any) -> Any:
    engine = fake_engine(FakeClient(("plain:1", "large:1", "a:1", "own:1", "b:1")))
    listed = PROFILES if listed is None else listed
    spawner = make_spawner(**{**CONFIGURED, "engine": engine, "profile_list": listed, **traits})
    spawner.user.groups = [SimpleNamespace(name=name) for name in groups]
    return spawner


NAMES = ("image", "mem_limit", "cpu_limit", "network_name", "port", "environment", "volumes", "cmd")


def settings(spawner: Any) -> dict[str, Any]:
    return {name: getattr(spawner, name) for name in NAMES}


async def test_a_profile_holds_for_one_start() -> None:
    spawner = spawner_with()
    before = settings(spawner_with())
    for _ in range(2):
        spawner.user_options = {"profile": "large"}
        await spawner.run_pre_spawn_hook()
        await spawner._pin_limits()
        assert settings(spawner) == {
            "image": "large:1",
            "mem_limit": 4 * GIB,
            "cpu_limit": 2.0,
            "network_name": "users",
            "port": 7000,
            "environment": {"MORE": "2", "SIZE": "large"},
            "volumes": {"home-{username}": "/home", "data-{username}": "/data"},
            "cmd": ["serve", "-v"],
        }
        assert spawner.gpus is two_gpus
        assert spawner.get_state() == {"profile": {"profile": "large"}}
        spawner.clear_state()
        spawner.user_options = {}
        await spawner.run_pre_spawn_hook()
        assert settings(spawner) == before
        assert spawner.gpus is None
        spawner.clear_state()
    spawner.mem_limit = lambda spawner: "3G"
    await spawner._pin_limits()
    assert spawner.mem_limit == 3 * GIB


async def test_starts_one_after_the_other_need_no_hub_between_them() -> None:
    spawner = spawner_with(pull_policy="never", engine=fake_engine(FakeClient(())))
    for profile, image in (("large", "large:1"), ("plain", "plain:1"), ("large", "large:1")):
        spawner.user_options = {"profile": profile}
        with pytest.raises(Exception, match=f"Image {image} does not exist"):
            await spawner.start()


async def test_what_follows_from_a_setting_follows_from_its_override() -> None:
    spawner = spawner_with(user_options={"profile": "large"})
    await spawner.run_pre_spawn_hook()
    assert spawner.use_internal_ip is True
    spawner.clear_state()
    assert spawner.use_internal_ip is False


async def test_a_default_that_was_read_is_no_setting() -> None:
    spawner = spawner_with(user_options={"profile": "large"})
    assert (spawner.use_internal_ip, spawner.extra_networks) == (False, [])
    # As hooks do.
    spawner.extra_networks.append("more")
    await spawner.run_pre_spawn_hook()
    assert (spawner.use_internal_ip, spawner.extra_networks) == (True, ["more"])
    spawner.clear_state()
    assert (spawner.use_internal_ip, spawner.extra_networks) == (False, ["more"])
    spawner = spawner_with(user_options={"profile": "large"}, use_internal_ip=False)
    assert spawner.use_internal_ip is False
    await spawner.run_pre_spawn_hook()
    assert spawner.use_internal_ip is False


def drop_all(spawner: Any) -> dict[str, Any]:
    return {"cap_drop": ["ALL"], "init": True}


async def drop_all_later(spawner: Any) -> dict[str, Any]:
    return drop_all(spawner)


@pytest.mark.parametrize("configured", [drop_all, drop_all_later])
async def test_a_mapping_is_merged_into_what_a_callable_gives(configured: Any) -> None:
    above = {"shm_size": "1g", "init": None}
    spawner = spawner_with(
        [{"display_name": "A", "docker_override": {"extra_host_config": above}}], extra_host_config=configured
    )
    await spawner.run_pre_spawn_hook()
    assert await spawner._evaluate(spawner.extra_host_config) == {"cap_drop": ["ALL"], "shm_size": "1g"}
    spawner.clear_state()
    assert spawner.extra_host_config is configured


async def test_the_configured_values_are_not_touched() -> None:
    spawner = spawner_with(user_options={"profile": "large"})
    await spawner.run_pre_spawn_hook()
    assert CONFIGURED["environment"] == {"KEEP": "1", "MORE": "2"}
    assert PROFILES[1]["docker_override"]["environment"] == {"SIZE": "large", "KEEP": None}


async def test_the_image_of_the_profile_is_pulled_before_the_start() -> None:
    client = FakeClient(("plain:1",))
    spawner = spawner_with(user_options={"profile": "large"}, engine=fake_engine(client))
    await spawner.run_pre_spawn_hook()
    assert client.calls == ["inspect_image", "pull"]
    assert "large:1" in client.images
    spawner._story.end()
    told = [event["message"] async for event in spawner.progress()]
    assert told == ["Looking for image large:1", "Pulling image large:1", "Pulled image large:1"]


async def test_the_hook_sees_the_profile_and_has_the_last_word() -> None:
    def hook(spawner: Any) -> None:
        seen.append(spawner.image)
        spawner.image = "b:1"

    seen: list[str] = []
    spawner = spawner_with(user_options={"profile": "large"}, pre_spawn_hook=hook)
    await spawner.run_pre_spawn_hook()
    await spawner._take_profile()
    assert (seen, spawner.image) == (["large:1"], "b:1")


@pytest.mark.parametrize("groups", [(), ("students",), ("staff", "students")])
async def test_groups(groups: tuple[str, ...]) -> None:
    spawner = spawner_with(groups=groups, user_options={"profile": "staff"})
    if "staff" in groups:
        await spawner.run_pre_spawn_hook()
        assert spawner.mem_limit == 8 * GIB
    else:
        with pytest.raises(
            Exception, match=r"There is no profile staff\. Available profiles: plain, large, own\."
        ) as refused:
            await spawner.run_pre_spawn_hook()
        assert refused.value.status_code == 400
    assert (">Staff<" in await spawner.get_options_form()) == ("staff" in groups)


async def test_who_may_have_no_profile_gets_no_server() -> None:
    spawner = spawner_with(PROFILES[2:3])
    assert await spawner.get_options_form() == ""
    with pytest.raises(Exception, match="There is no profile for you") as refused:
        await spawner.run_pre_spawn_hook()
    assert refused.value.status_code == 403


@pytest.mark.parametrize(
    ("options", "status", "why"),
    [
        ({"profile": "huge"}, 400, "There is no profile huge"),
        ({"profile": "plain", "colour": "red"}, 400, "Profile plain has no option colour"),
        ({"image": "b:1"}, 400, "Profile plain has no option image"),
        ({"profile": "own", "image--unlisted-choice": "b:1"}, 400, "The option image can't be b:1. Own images only."),
        ({"profile": "own", "limit--unlisted-choice": "lots"}, 400, "Profile own can't be had: .*lots"),
    ],
)
async def test_what_is_refused(options: dict[str, Any], status: int, why: str) -> None:
    spawner = spawner_with(user_options=options)
    for step in (spawner.run_pre_spawn_hook, spawner.start):
        with pytest.raises(Exception, match=why) as refused:
            await step()
        assert refused.value.status_code == status
    assert spawner.image == "plain:1"


@pytest.mark.parametrize("refused", [{"profile": "huge"}, {"profile": "own", "limit--unlisted-choice": "lots"}])
async def test_what_was_refused_is_shown_again_but_not_on_record(refused: dict[str, Any]) -> None:
    record = SimpleNamespace(name="lab", server=None, display_name="", user_options={"profile": "large"})
    spawner = spawner_with(user_options={"profile": "large"}, orm_spawner=record)
    spawner.load_state({})
    # As the hub does before a start.
    spawner.user_options = record.user_options = refused
    with pytest.raises(Exception, match=r"There is no profile huge|can't be had"):
        await spawner.run_pre_spawn_hook()
    assert record.user_options == {"profile": "large"}
    assert spawner._last_options() == refused


async def test_a_text_of_the_users_own() -> None:
    options = {"profile": "own", "image--unlisted-choice": "own:1", "limit--unlisted-choice": "3G"}
    spawner = spawner_with(user_options=options)
    await spawner.run_pre_spawn_hook()
    assert (spawner.image, spawner.environment["IMAGE"], spawner.mem_limit) == ("own:1", "own:1", 3 * GIB)
    assert spawner.get_state() == {"profile": options}


IMAGES = {"small": "a:1", "big": "b:1"}


async def test_allowed_images_are_for_profiles_that_leave_the_image_open() -> None:
    spawner = spawner_with(allowed_images=IMAGES, user_options={"profile": "plain", "image": "big"})
    await spawner.run_pre_spawn_hook()
    assert spawner.image == "b:1"
    with pytest.raises(Exception, match="Image other is not allowed"):
        await spawner_with(allowed_images=IMAGES, user_options={"image": "other"}).run_pre_spawn_hook()
    with pytest.raises(Exception, match="Profile large has no option image"):
        await spawner_with(
            allowed_images=IMAGES, user_options={"profile": "large", "image": "big"}
        ).run_pre_spawn_hook()
    own = {"profile": "own", "image": "a", "limit--unlisted-choice": "1G"}
    spawner = spawner_with(allowed_images=IMAGES, user_options=own)
    await spawner.run_pre_spawn_hook()
    assert spawner.image == "a:1"
    form = await spawner.get_options_form()
    assert form.count('<option value="big"') == 1
    assert 'name="profile-option-plain--image"' in form


async def test_an_image_that_was_chosen_is_for_one_start_too() -> None:
    spawner = spawner_with([], allowed_images=IMAGES, user_options={"image": "big"})
    await spawner.run_pre_spawn_hook()
    assert spawner.image == "b:1"
    spawner.clear_state()
    assert spawner.image == "plain:1"


async def test_options_that_the_operator_sees_to_are_not_refused() -> None:
    for hook in ({"colour": "post_start_cmd"}, lambda spawner, options: None):
        spawner = spawner_with(user_options={"colour": "red"}, apply_user_options=hook)
        await spawner._run_apply_user_options(spawner.user_options)
        await spawner.run_pre_spawn_hook()


async def test_a_callable_is_asked_at_each_start_and_each_form() -> None:
    async def for_whom(spawner: Any) -> Any:
        asked.append(spawner.user.name)
        return {name: {"display_name": name, "docker_override": {"mem_limit": "2G"}} for name in names}

    asked: list[str] = []
    names = ["first"]
    spawner = spawner_with(for_whom)
    assert ">first<" in await spawner.get_options_form()
    await spawner.run_pre_spawn_hook()
    assert spawner.mem_limit == 2 * GIB
    spawner.clear_state()
    names[:] = []
    assert await spawner.get_options_form() == ""
    await spawner.run_pre_spawn_hook()
    await spawner._pin_limits()
    assert (spawner.mem_limit, asked) == (GIB, ["ann"] * 4)


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ([{"display_name": "A"}] * 2, r"profile_list\[1\]\.slug: is 'a', as that of profile_list\[0\]"),
        (
            [{"display_name": "A", "docker_override": {"imgae": "a:1"}}],
            r"profile_list\[0\]\.docker_override\.imgae: is not a setting of DockerSpawner: did you mean image\?",
        ),
        (
            {"a": {"display_name": "A", "docker_override": {"container_image": "a:1"}}},
            r"profile_list\.a\.docker_override\.container_image: is called image now",
        ),
        (
            [{"display_name": "A", "docker_override": {"api_token": "mine", "object_id": "x"}}],
            r"api_token: is not a setting of DockerSpawner.*\n.*object_id: is not a setting of DockerSpawner",
        ),
        ([{"display_name": "A", "docker_override": {"mem_limit": "lots"}}], r"docker_override\.mem_limit: .*lots"),
        ([{"display_name": "A", "docker_override": {"volumes": ["a"]}}], r"docker_override\.volumes: .*dict"),
        ("A", "profile_list: takes a list"),
    ],
)
async def test_a_mistake_is_told_at_once_or_at_the_start(listed: Any, why: str, caplog: Any) -> None:
    with pytest.raises(TraitError, match=why):
        spawner_with(listed)
    spawner = spawner_with(lambda spawner: listed)
    spawner.log.propagate = True
    for step in (spawner.run_pre_spawn_hook, spawner.start, spawner.get_options_form):
        with pytest.raises(Exception, match=why) as failed:
            await step()
        assert failed.value.reason == "settings"
    assert "profile_list can't be used" in caplog.text


def test_a_configuration_is_checked_without_a_user() -> None:
    config = Config()
    config.DockerSpawner.profile_list = PROFILES
    DockerSpawner(config=config)
    config.DockerSpawner.profile_list = [{"display_nme": "A"}]
    with pytest.raises(TraitError, match=r"profile_list\[0\]\.display_nme: is unknown: did you mean display_name\?"):
        DockerSpawner(config=config)


async def test_a_restarted_hub_knows_what_a_server_was_started_with() -> None:
    before = spawner_with(user_options={"profile": "large"})
    await before.run_pre_spawn_hook()
    after = spawner_with()
    after.load_state(before.get_state())
    await after._recall_profile()
    assert settings(after) == settings(before)
    assert after.get_state() == before.get_state()
    after.clear_state()
    assert settings(after) == settings(spawner_with())
    assert after.get_state() == {}


async def test_a_profile_that_is_gone_meanwhile_leaves_its_server_alone(caplog: pytest.LogCaptureFixture) -> None:
    spawner = spawner_with()
    spawner.log.propagate = True
    spawner.load_state({"profile": {"profile": "gone"}})
    await spawner._recall_profile()
    assert "without its profile gone: There is no profile gone" in caplog.text
    assert spawner.image == "plain:1"


async def test_a_profile_that_fails_half_way_is_not_had_by_half() -> None:
    def fails(spawner: Any) -> int:
        raise RuntimeError("not now")

    spawner = spawner_with([{"display_name": "A", "docker_override": {"image": "a:1", "port": fails}}])
    spawner.load_state({"profile": {"profile": "a"}})
    await spawner._recall_profile()
    assert spawner.image == "plain:1"


async def test_the_form_asks_a_sleeper_whether_to_start_afresh() -> None:
    awake, asleep, nothing = spawner_with(), spawner_with(), spawner_with([])
    for spawner in (asleep, nothing):
        spawner.load_state({"object_id": "x", "paused_at": 1.0})
    assert 'name="fresh"' not in await awake.get_options_form()
    assert 'name="fresh"' in await asleep.get_options_form()
    assert await nothing.get_options_form() == ""
    images = spawner_with([], allowed_images=IMAGES)
    images.load_state({"object_id": "x", "paused_at": 1.0})
    assert 'name="fresh"' in await images.get_options_form()


def test_a_fresh_start_is_one_of_what_there_was() -> None:
    spawner = spawner_with(user_options={"profile": "large"})
    spawner.user_options = {"fresh": True}
    assert spawner.user_options == {"profile": "large", "fresh": True}
    spawner.user_options = {"profile": "plain", "fresh": True}
    assert spawner.user_options == {"profile": "plain", "fresh": True}
    spawner.user_options = {}
    assert spawner.user_options == {}


def test_options_by_form_and_url() -> None:
    assert spawner_with().options_from_form({"x": ["1"], "fresh": ["1"]}) == {"x": "1", "fresh": True}
    assert spawner_with([]).options_from_form({"x": ["1"], "fresh": ["1"]}) == {"fresh": True}
    for prefix in ("", "opt-"):
        assert spawner_with().options_from_query({f"{prefix}profile": ["large"]}) == {"profile": "large"}
    with pytest.raises(Exception, match="Please choose"):
        spawner_with().options_from_query({"_xsrf": ["of a form"]})


async def test_a_form_of_a_subclass() -> None:
    class Custom(DockerSpawner):
        def _default_options_form(self) -> str:
            return "mine"

    class Asking(DockerSpawner):
        async def _default_options_form(self) -> str:  # type: ignore[override]
            return "asked"

    assert await make_spawner(cls=Custom).get_options_form() == "mine"
    assert await make_spawner(cls=Asking).get_options_form() == "asked"


async def test_a_hub_without_apply_user_options_has_profiles() -> None:
    class Old(DockerSpawner):
        @property
        def apply_user_options(self) -> Any:
            raise AttributeError("new in JupyterHub 5.3")

    spawner: Any = make_spawner(cls=Old, profile_list=PROFILES, pull_policy="skip", user_options={"profile": "large"})
    await spawner.run_pre_spawn_hook()
    assert spawner.image == "large:1"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("prefix", "other"),
        ("instance", "other"),
        ("name_template", "{username}"),
        ("escape", lambda spawner: lambda text: text),
        ("client_kwargs", {"timeout": 1}),
        ("tls_config", {}),
        ("quick_timeout", 1),
        ("max_sleeping", 1),
        ("pause_max_age", lambda spawner: 1),
        ("user_subnet_pool", "10.0.0.0/8"),
        ("gpu_pool", ["0"]),
        ("poll_interval", 1),
        ("profile_list", []),
        ("tls_verify", True),
        ("auth_state_uid_key", "uid"),
    ],
)
@pytest.mark.parametrize("place", ["profile", "choice", "unlisted choice"])
async def test_load_a_profile_that_overrides_what_all_servers_share_is_refused(
    place: str, setting: str, value: Any
) -> None:
    override = {"docker_override": {setting: value}}
    listed: dict[str, Any] = {"display_name": "A"}
    if place == "profile":
        listed |= override
    else:
        text = {"unlisted_choice": {"enabled": True, **override}}
        option = {"choices": {"x": override}} if place == "choice" else text
        listed["profile_options"] = {"o": option}
    where = (
        rf"docker_override\.{setting}: can't be overridden by a profile: .*\. Profiles can override: allow_internet, "
    )
    config = Config()
    config.SystemUserSpawner.profile_list = [listed]
    with pytest.raises(TraitError, match=where) as refused:
        SystemUserSpawner(config=config)
    assert "stop_timeout" in str(refused.value)
    given = spawner_with(lambda spawner: [listed], cls=SystemUserSpawner)
    with pytest.raises(Exception, match=where):
        await given.run_pre_spawn_hook()


def test_every_setting_is_either_shared_or_overridable() -> None:
    """Each shared setting exists in one of the spawners."""
    classes = (SystemUserSpawner, SwarmSystemUserSpawner)
    known = {name for cls in classes for name in cls.class_traits(config=True)}
    assert SHARED.keys() <= known


async def test_what_belongs_to_whom_does_not_follow_from_an_override() -> None:
    spawner = spawner_with([{"display_name": "A", "docker_override": {"hub_connect_url": "http://other:8081"}}])
    before = spawner_with().instance
    await spawner.run_pre_spawn_hook()
    assert (spawner.hub_connect_url, spawner.instance) == ("http://other:8081", before)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the lists that are read, with an empty cache."""

    def counted(listed: Any, *args: Any) -> Any:
        found.append(listed)
        return read(listed, *args)

    found: list[Any] = []
    monkeypatch.setattr(profiles, "read", counted)
    monkeypatch.setattr(profiles, "_READ", ProfileCache())
    return found


async def test_load_500_spawners_read_a_configured_list_once(reads: list[Any]) -> None:
    config = Config()
    config.DockerSpawner.profile_list = PROFILES
    for _ in range(500):
        DockerSpawner(config=config)
    for name in ("ann", "bob"):
        spawner: Any = make_spawner(name, config=config, pull_policy="skip", user_options={"profile": "large"})
        spawner.load_state({"profile": {"profile": "large"}})
        await spawner._recall_profile()
        await spawner.run_pre_spawn_hook()
        await spawner.get_options_form()
        assert spawner.image == "large:1"
    assert len(reads) == 1


async def test_load_what_a_callable_gives_is_read_once_for_each_value(reads: list[Any]) -> None:
    def listed(spawner: Any) -> list[dict[str, Any]]:
        limit = partial(int, spawner.user.name)
        return [{"display_name": "A", "docker_override": {"port": limit, "cmd": ["serve"]}}]

    for _ in range(3):
        for name in ("7000", "8000"):
            spawner: Any = make_spawner(name, profile_list=listed, pull_policy="skip")
            await spawner.get_options_form()
    assert len(reads) == 2


async def test_load_a_list_that_is_changed_is_read_again(reads: list[Any]) -> None:
    listed: list[dict[str, Any]] = [{"display_name": "A", "docker_override": {"port": 1, "cmd": ["a"]}}]
    for port in (1, 2, True):
        listed[0]["docker_override"]["port"] = port
        spawner: Any = make_spawner(profile_list=lambda spawner: listed, pull_policy="skip")
        await spawner.run_pre_spawn_hook()
        assert spawner.port == port
        # Like hooks: for this start only.
        spawner.cmd.append("b")
        spawner.clear_state()
        await spawner.run_pre_spawn_hook()
        assert spawner.cmd == ["a"]
    assert len(reads) == 3


CATASTROPHE = "(a+)+$"


def with_regex(regex: str) -> list[dict[str, Any]]:
    unlisted = {"enabled": True, "validation_regex": regex, "docker_override": {"environment": {"TEXT": "{value}"}}}
    return [{"display_name": "A", "profile_options": {"text": {"unlisted_choice": unlisted}}}]


async def test_start_a_regular_expression_that_takes_for_ever_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    spawner = spawner_with(with_regex(CATASTROPHE), user_options={"text--unlisted-choice": "a" * 30 + "!"})
    spawner.log.propagate = True
    before = time.thread_time()
    with pytest.raises(Exception, match="The text of option text takes too long to check") as refused:
        await spawner.run_pre_spawn_hook()
    assert time.thread_time() - before < 0.5
    assert refused.value.status_code == 400
    assert "validation_regex of option text in profile a took more than 1 s" in caplog.text
    assert CATASTROPHE in caplog.text


async def test_start_a_text_that_matches_is_taken_also_by_a_costly_expression() -> None:
    spawner = spawner_with(with_regex(CATASTROPHE), user_options={"text--unlisted-choice": "a" * 30})
    await spawner.run_pre_spawn_hook()
    assert spawner.environment["TEXT"] == "a" * 30


@pytest.mark.parametrize("text", ["reg/a b", "reg/a\n", "evil/reg/a", "\ud800"])
async def test_start_a_text_has_to_match_as_a_whole(text: str) -> None:
    spawner = spawner_with(with_regex(r"reg/\w+"), user_options={"text--unlisted-choice": text})
    with pytest.raises(Exception, match=r"(?s)The option text can't be .* It must match reg") as refused:
        await spawner.run_pre_spawn_hook()
    assert refused.value.status_code == 400


async def test_start_the_texts_of_one_user_are_checked_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(regex: str, text: str) -> bool:
        with lock:
            at_once[text] += 1
            most[text] = max(most[text], at_once[text])
            together.append(len([one for one in at_once.values() if one]))
        may_end.wait(10)
        with lock:
            at_once[text] -= 1
        return True

    lock, may_end, together = threading.Lock(), threading.Event(), list[int]()
    at_once, most = Counter[str](), Counter[str]()
    monkeypatch.setattr(text_check, "_matches", check)
    asked = [text_check.matches("", name, name) for name in ("ann", "bob") for _ in range(5)]
    waiting = asyncio.gather(*asked)

    async def both() -> bool:
        return 2 in together

    await until(both, timeout=10)
    may_end.set()
    assert all(await waiting)
    assert most == {"ann": 1, "bob": 1}


async def test_start_without_a_python_to_run_the_text_is_refused_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    spawner = spawner_with(with_regex("a"), user_options={"text--unlisted-choice": "a"})
    spawner.log.propagate = True
    with pytest.raises(Exception, match=r"can't be checked now\. Ask an administrator"):
        await spawner.run_pre_spawn_hook()
    assert "/no/such/python" in caplog.text


async def test_restart_a_text_that_was_accepted_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: str) -> bool:
        raise AssertionError

    monkeypatch.setattr(text_check, "matches", never)
    spawner = spawner_with(with_regex("other"))
    spawner.load_state({"profile": {"profile": "a", "text--unlisted-choice": "a"}})
    await spawner._recall_profile()
    assert spawner.environment["TEXT"] == "a"


def test_options_from_form_a_file_is_refused() -> None:
    upload = {"x_file": [{"filename": "x", "body": b"1"}]}
    with pytest.raises(Exception, match="These options are not text: x_file") as refused:
        spawner_with().options_from_form(upload)
    assert refused.value.status_code == 400
    assert spawner_with([]).options_from_form(upload) == {}


async def test_choose_image_a_name_without_end_is_refused() -> None:
    spawner = spawner_with([], allowed_images="*", user_options={"image": "a" * 1_001})
    with pytest.raises(Exception, match="The option image has 1001 characters; the limit is 1000"):
        await spawner.run_pre_spawn_hook()


@pytest.mark.parametrize("family", FAMILIES)
async def test_no_text_of_a_user_costs_more_than_its_length(family: str) -> None:
    """User texts reach templates, regular expressions and loops: names, options, images, messages."""

    def escaped(text: str) -> None:
        dns_escape(text)
        legacy_escape(text)
        fit(text, 63)

    def parsed(text: str) -> None:
        with contextlib.suppress(ValueError):
            Reference.parse(text)

    def read_options(text: str) -> None:
        options_of({text: [text], f"profile-option-{text}": [text], "profile": [text]})

    def form_of(text: str) -> None:
        form([Profile("a", text, options=(Option("o", text, (Choice("c", text),), "c"),))], {"o": text})

    def explained(text: str) -> None:
        explain(Refused(text))
        explain(NoSuchNetwork(text))
        meaning("create_service", api_error(500, text))

    for function in (escaped, parsed, read_options, form_of, explained):
        assert growth(function, FAMILIES[family]) < LINEAR, function.__name__
