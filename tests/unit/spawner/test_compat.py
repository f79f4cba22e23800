from __future__ import annotations

import importlib
import logging
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import traitlets

from dockerspawner import DockerSpawner, SwarmSpawner, SystemUserSpawner
from dockerspawner import _compat as compat
from dockerspawner._settings.naming import dns_escape
from support.fake_engine import FakeClient, fake_engine
from support.spawners import make_spawner

LOG = logging.getLogger("old-names")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "_logged", set())


def spawner_of(cls: type[DockerSpawner] = DockerSpawner, **traits: Any) -> Any:
    return make_spawner(cls=cls, engine=fake_engine(FakeClient()), log=LOG, **traits)


CALLS: dict[str, tuple[Any, Any]] = {
    "_eval_if_callable": (lambda s: [s._eval_if_callable(3), s._eval_if_callable(lambda of: of.user.name)], [3, "ann"]),
    "_render_templates": (
        lambda s: [s._render_templates({"{username}": ["{prefix}", "{x"]}), s._render_templates("{a}", {"a": 1})],
        [{"ann": ["jupyter", "{x"]}, "1"],
    ),
    "_volumes_to_binds": (
        lambda s: s._volumes_to_binds({"v-{username}": "/a", "/b": {"bind": "/c", "mode": "z"}}, {"d": {}}, mode="ro"),
        {"d": {}, "v-ann": {"bind": "/a", "mode": "ro"}, "/b": {"bind": "/c", "mode": "z"}},
    ),
    "_get_ssl_alt_names": (lambda s: s._get_ssl_alt_names(), ["DNS:jupyter-ann", "IP:127.0.0.1"]),
    "_default_options_from_form": (
        lambda s: s._default_options_from_form()({"image": ["a", "b"], "other": ["c"]}),
        {"image": "a"},
    ),
    "_docker": (lambda s: s._docker("inspect_image", "tiny")["Id"], "sha256:tiny"),
    "executor": (lambda s: s.executor.submit(lambda: 7).result(), 7),
    "tls_client": (lambda s: s.tls_client, None),
    "_default_name_template": (lambda s: s._default_name_template(), "{prefix}-{username}"),
    "_default_use_ip": (lambda s: s._default_use_ip(), False),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_old_helper_works_and_logs_once_what_replaces_it(name: str, caplog: pytest.LogCaptureFixture) -> None:
    call, expected = CALLS[name]
    spawner = spawner_of()
    for _ in range(2):
        with pytest.deprecated_call(match=rf"DockerSpawner\.{name} is deprecated, use"):
            assert call(spawner) == expected
    assert [record.getMessage().partition(",")[0] for record in caplog.records if record.name == LOG.name] == [
        f"DockerSpawner.{name} is deprecated"
    ]


def test_tls_client_is_the_pair_of_tls_config() -> None:
    with pytest.deprecated_call():
        assert spawner_of(tls_config={"client_cert": ["c", "k"]}).tls_client == ("c", "k")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_executor_that_a_subclass_has_is_given_back() -> None:
    class Many(DockerSpawner):
        _executor = ThreadPoolExecutor(4)

    assert spawner_of(Many).executor is Many._executor
    assert spawner_of().executor is spawner_of(SwarmSpawner).executor is not Many._executor


async def test_a_replaced_docker_helper_sees_every_call(port: int) -> None:
    seen = []

    class Watches(DockerSpawner):
        def _docker(self, method: str, *args: Any, **kwargs: Any) -> Any:
            seen.append(method)
            return super()._docker(method, *args, **kwargs)

    spawner = spawner_of(Watches, image="tiny", network_name="users", port=port, remove=True)
    await spawner.start()
    assert seen == ["inspect_image", "create_container", "start", "inspect_container"]


def test_a_replaced_helper_that_is_not_called_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Own(DockerSpawner):
        def _volumes_to_binds(self, volumes: Any, binds: Any, mode: str = "rw") -> Any:
            return {}

    for _ in range(2):
        spawner_of(Own)
    assert [record.getMessage() for record in caplog.records] == [
        "The spawner does not call Own._volumes_to_binds: use volume_binds instead"
    ]


def test_a_replaced_escape_takes_effect() -> None:
    class Upper(DockerSpawner):
        @staticmethod
        def _escape(text: str) -> str:
            return text.upper()

    assert spawner_of(Upper).container_name == "jupyter-ANN"
    assert DockerSpawner._escape("a.b") == dns_escape("a.b")


def test_a_replaced_image_observer_is_called() -> None:
    class Notes(DockerSpawner):
        seen = ""

        @traitlets.observe("image")  # type: ignore[untyped-decorator]
        def _image_changed(self, change: Any) -> None:
            super()._image_changed(change)
            self.seen = change.new

    spawner = spawner_of(Notes, name_template="{prefix}-{imagename}")
    spawner.image = "a:1"
    assert (spawner.seen, spawner.object_name) == ("a:1", "jupyter-a-1")


@pytest.mark.parametrize("module", ["dockerspawner", "swarmspawner", "systemuserspawner"])
def test_names_of_modules_are_given_with_a_message(module: str) -> None:
    found = importlib.import_module(f"dockerspawner.{module}")
    with pytest.deprecated_call(match="deprecated, use docker.types"):
        from docker.types import Mount

        assert vars(found).get("Mount") or found.__getattr__("Mount") is Mount
        assert found.__getattr__("TaskTemplate")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = found.nothing


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_modules_define_works() -> None:
    from dockerspawner.dockerspawner import UnicodeOrFalse, _deep_merge  # type: ignore[attr-defined]

    class Holds(traitlets.HasTraits):
        text = UnicodeOrFalse(False)

    holds = Holds()
    holds.text = "a"
    holds.text = False
    for value in (True, 1, None):
        with pytest.raises(traitlets.TraitError):
            holds.text = value
    below = {"a": {"b": 1}, "c": 2}
    assert _deep_merge(below, {"a": {"d": 3}, "c": {"e": 4}}) is below
    assert below == {"a": {"b": 1, "d": 3}, "c": {"e": 4}}


async def test_arguments_of_start_change_the_settings(port: int, caplog: pytest.LogCaptureFixture) -> None:
    client = FakeClient(("tiny",))
    spawner = make_spawner(
        cls=SystemUserSpawner,
        engine=fake_engine(client),
        log=LOG,
        user_id=1000,
        network_name="users",
        port=port,
        image="configured",
        extra_host_config=lambda spawner: {"dns": ["10.0.0.1"]},
    )
    created = {}
    create = client.create_container
    client.create_container = lambda **spec: created.update(spec) or create(**spec)  # type: ignore[method-assign]
    await spawner.start(  # type: ignore[call-arg]
        image="tiny", extra_create_kwargs={"domainname": "d"}, extra_host_config={"cap_drop": ["ALL"]}
    )
    assert (created["image"], created["domainname"]) == ("tiny", "d")
    assert (created["host_config"]["CapDrop"], created["host_config"]["Dns"]) == (["ALL"], ["10.0.0.1"])
    messages = [record.getMessage() for record in caplog.records if "via .start()" in record.getMessage()]
    assert len(messages) == 3


async def test_the_deprecated_check_takes_what_check_allowed_takes() -> None:
    spawner = spawner_of(allowed_images={"new": "a:1"})
    with pytest.deprecated_call():
        assert await spawner.check_image_whitelist(image="new") == "a:1"


def test_a_spawner_without_a_user_can_be_made() -> None:
    assert DockerSpawner(user=SimpleNamespace(name="ann")).image
