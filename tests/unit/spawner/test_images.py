from __future__ import annotations

import asyncio
from typing import Any

import pytest
from docker.errors import NotFound
from tornado.web import HTTPError
from traitlets import TraitError

from dockerspawner import DockerSpawner
from dockerspawner._images.images import Pull, Reference
from support.fake_engine import FakeClient, fake_engine
from support.spawners import make_spawner
from support.wait import until

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest", "version"),
    [
        ("busybox", "busybox", "", "", "latest"),
        ("busybox:1.30", "busybox", "1.30", "", "1.30"),
        ("localhost:5000/a/b", "localhost:5000/a/b", "", "", "latest"),
        ("localhost:5000/a/b:2", "localhost:5000/a/b", "2", "", "2"),
        (f"quay.io/a@{DIGEST}", "quay.io/a", "", DIGEST, DIGEST),
        (f"r.example.org:5000/a:1@{DIGEST}", "r.example.org:5000/a", "1", DIGEST, DIGEST),
        ("[fd00::1]:5000/a", "[fd00::1]:5000/a", "", "", "latest"),
        ("Registry.Example/a__b--c.d", "Registry.Example/a__b--c.d", "", "", "latest"),
    ],
)
def test_references(text: str, repository: str, tag: str, digest: str, version: str) -> None:
    reference = Reference.parse(text)
    assert reference == Reference(repository, tag, digest)
    assert reference.version == version


@pytest.mark.parametrize("text", ["", "Upper", "a:", "a@sha256:short", "a b", "/a", "a//b", "a:1:2"])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ValueError, match="not an image reference"):
        Reference.parse(text)


def spawner_on(client: FakeClient, **traits: Any) -> Any:
    return make_spawner(engine=fake_engine(client), **{"image": "a:1", **traits})


@pytest.mark.parametrize(
    ("policy", "present", "calls"),
    [
        ("ifnotpresent", True, ["inspect_image"]),
        ("ifnotpresent", False, ["inspect_image", "pull"]),
        ("IfNotPresent", True, ["inspect_image"]),
        ("always", True, ["pull"]),
        ("never", True, ["inspect_image"]),
        ("skip", False, []),
    ],
)
async def test_pull_policies(policy: str, present: bool, calls: list[str]) -> None:
    client = FakeClient(("a:1",) if present else ())
    await spawner_on(client, pull_policy=policy).run_pre_spawn_hook()
    assert client.calls == calls


async def test_never_says_that_it_does_not_pull() -> None:
    with pytest.raises(Exception, match=r"Image a:1 does not exist .* pull_policy 'never' prevents a pull"):
        await spawner_on(FakeClient(()), pull_policy="never").run_pre_spawn_hook()


async def test_an_error_inside_the_stream_is_an_error() -> None:
    client = FakeClient(())
    client.pull_events = [{"status": "Pulling"}, {"error": "no space left on device"}]
    with pytest.raises(Exception, match="Image a:1 could not be pulled: no space left"):
        await spawner_on(client).run_pre_spawn_hook()


async def test_a_pull_ends_with_pull_timeout() -> None:
    client = FakeClient(())
    client.may_pull.clear()
    with pytest.raises(Exception, match=r"not pulled within 0\.1 s"):
        await spawner_on(client, pull_timeout=0.1).run_pre_spawn_hook()
    client.may_pull.set()


async def test_the_hook_chooses_the_image_and_start_does_not_ask_again() -> None:
    def hook(spawner: Any) -> None:
        spawner.image = "b:2"

    client = FakeClient(())
    spawner = spawner_on(client, pre_spawn_hook=hook)
    await spawner.run_pre_spawn_hook()
    await spawner._have_image()
    assert client.calls == ["inspect_image", "pull"]
    assert "b:2" in client.images


async def test_many_waiters_share_one_pull_and_its_progress() -> None:
    client = FakeClient(())
    client.may_pull.clear()
    client.pull_events = [
        {"status": "Downloading", "id": "l1", "progressDetail": {"current": 1_000_000, "total": 4_000_000}},
        {"status": "Downloading", "id": "l2", "progressDetail": {"current": 3_000_000, "total": 6_000_000}},
    ]
    engine = fake_engine(client)
    spawners = [make_spawner(f"u{n}", engine=engine, image="a:1") for n in range(20)]
    waiting = [asyncio.create_task(spawner.run_pre_spawn_hook()) for spawner in spawners]

    async def all_wait() -> bool:
        return client.pulling.is_set() and client.calls.count("inspect_image") == 20

    await until(all_wait, timeout=5)
    waiting.pop().cancel()
    client.may_pull.set()
    await asyncio.gather(*waiting)
    assert client.calls.count("pull") == 1
    assert engine.pulls == {}


@pytest.mark.parametrize(
    ("events", "percent", "said"),
    [
        ([], 0, "Pulling image a:1"),
        (
            [("Downloading", "l1", 1, 4), ("Downloading", "l2", 3, 6), ("Already exists", "l3", 0, 0)],
            20,
            "Pulling image a:1: 4 of 10 MB",
        ),
        ([("Downloading", "l1", 1, 4), ("Download complete", "l1", 0, 0)], 50, "Unpacking image a:1: 0 of 4 MB"),
        ([("Downloading", "l1", 4, 4), ("Extracting", "l1", 2, 4)], 75, "Unpacking image a:1: 2 of 4 MB"),
        ([("Extracting", "l1", 1, 4)], 62, "Unpacking image a:1: 1 of 4 MB"),
        ([("Downloading", "l1", 1, 4), ("Pull complete", "l1", 0, 0)], 100, "Unpacking image a:1: 4 of 4 MB"),
    ],
)
async def test_progress_comes_from_the_layers(events: list[tuple[str, str, int, int]], percent: int, said: str) -> None:
    client = FakeClient(())
    client.pull_events = [
        {"status": status, "id": layer, "progressDetail": {"current": current * 10**6, "total": total * 10**6}}
        for status, layer, current, total in events
    ]
    pull = Pull(Reference.parse("a:1"))
    await pull.run(fake_engine(client), timeout=5)
    assert (pull.percent, str(pull)) == (percent, said)


IMAGES = {"small": "a:1", "large": "b:1"}


def spawner_with(allowed: Any, **options: Any) -> Any:
    client = FakeClient(("default:1", "a:1", "b:1"))
    return spawner_on(client, image="default:1", allowed_images=allowed, user_options=options)


@pytest.mark.parametrize(
    ("allowed", "choice", "image"),
    [
        (IMAGES, "large", "b:1"),
        (IMAGES, None, "default:1"),
        (["a:1", "b:1"], "b:1", "b:1"),
        (lambda spawner: ["a:1"], "a:1", "a:1"),
        (lambda spawner: IMAGES, "small", "a:1"),
        ("*", "b:1", "b:1"),
        ({}, None, "default:1"),
        (lambda spawner: None, None, "default:1"),
    ],
)
async def test_a_choice_that_is_allowed(allowed: Any, choice: str | None, image: str) -> None:
    spawner = spawner_with(allowed, **({"image": choice} if choice else {}))
    await spawner.run_pre_spawn_hook()
    assert spawner.image == image


@pytest.mark.parametrize(
    ("allowed", "choice"),
    [
        (IMAGES, "b:1"),
        (IMAGES, "other"),
        ([], "default:1"),
        (lambda spawner: None, "default:1"),
        (IMAGES, ["small"]),
        ("*", {"a": 1}),
    ],
)
async def test_any_other_choice_is_refused(allowed: Any, choice: Any) -> None:
    spawner = spawner_with(allowed, image=choice)
    for step in (spawner.run_pre_spawn_hook, spawner.start):
        with pytest.raises(HTTPError) as refused:
            await step()
        assert refused.value.status_code == 400
    assert spawner.image == "default:1"


def test_one_text_is_no_list_of_images() -> None:
    with pytest.raises(TraitError, match=r"for one image, \['a:1'\]"):
        spawner_with("a:1")


async def test_the_form_asks_where_there_is_a_choice_and_escapes_what_it_prints() -> None:
    for none in ({}, ["a:1"], "*", lambda spawner: None):
        assert spawner_with(none)._default_options_form() == ""
    spawner = spawner_with({"<b>": "a:1", "default": "default:1"})
    form = await spawner.get_options_form()
    assert '<option value="&lt;b&gt;">&lt;b&gt;</option><option value="default" selected>default</option>' in form
    assert form.count("<option") == 2


def test_the_form_gives_the_option() -> None:
    assert spawner_with({}).options_from_form({"image": ["a", "b"], "x": ["1"]}) == {"image": "a"}
    chosen = make_spawner(options_from_form=lambda form: {"ok": True})
    assert chosen.options_from_form({}) == {"ok": True}


async def test_options_that_nobody_handles_are_named(caplog: pytest.LogCaptureFixture) -> None:
    spawner = spawner_with(IMAGES, image="small", colour="red")
    spawner.log.propagate = True
    await spawner._run_apply_user_options(spawner.user_options)
    assert [record.getMessage() for record in caplog.records] == ["The spawner does not use the options colour"]


async def test_an_overridden_pull_that_fails_in_the_sdks_way_is_explained() -> None:
    class Custom(DockerSpawner):
        async def pull_image(self, image: str) -> None:
            raise NotFound("no manifest", explanation="manifest unknown")

    with pytest.raises(Exception, match="manifest unknown"):
        await make_spawner(cls=Custom, engine=fake_engine(FakeClient())).run_pre_spawn_hook()


def test_image_with_blanks_or_a_line_end_around_it_is_stripped() -> None:
    assert make_spawner(image=" repo/name:1 \r\n").image == "repo/name:1"


@pytest.mark.parametrize(
    "allowed", [["repo/name:1 "], {"repo/name:1 ": "repo/name:1\n"}, lambda spawner: [" repo/name:1"]]
)
async def test_allowed_images_with_blanks_around_them_are_stripped(allowed: Any) -> None:
    spawner = make_spawner(allowed_images=allowed, user_options={"image": "repo/name:1\n"})
    await spawner._choose_image()
    assert spawner.image == "repo/name:1"


@pytest.mark.parametrize("policy", ["always", "ifnotpresent", "never", "skip"])
@pytest.mark.parametrize("image", ["repo /name", "Repo/Name:1", "repo/name:", "", "repo\u200b/name"])
async def test_image_that_is_no_reference_is_named_before_the_engine_is_asked(policy: str, image: str) -> None:
    client = FakeClient()
    spawner = make_spawner(engine=fake_engine(client), image=image, pull_policy=policy)
    with pytest.raises(Exception, match="is not an image reference") as failed:
        await spawner.start()
    error: Any = failed.value
    assert repr(image) in error.jupyterhub_message
    assert client.calls == []


@pytest.mark.parametrize("is_coroutine", [False, True])
async def test_start_check_that_raises_refuses_the_start_before_the_pull(is_coroutine: bool) -> None:
    class NotNow(Exception):
        jupyterhub_message = "Not now."

    def check(spawner: Any) -> None:
        raise NotNow

    async def check_later(spawner: Any) -> None:
        raise NotNow

    client = FakeClient()
    spawner = spawner_on(client, start_check=check_later if is_coroutine else check)
    with pytest.raises(NotNow):
        await spawner.run_pre_spawn_hook()
    assert client.calls == []
    spawner.start_check = lambda spawner: 1 / 0
    with pytest.raises(ZeroDivisionError) as caught:
        await spawner.run_pre_spawn_hook()
    assert "the setting start_check failed" in caught.value.jupyterhub_message
