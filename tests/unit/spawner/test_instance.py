from __future__ import annotations

import secrets
from types import SimpleNamespace
from typing import Any

import pytest

from dockerspawner import DockerSpawner
from dockerspawner._records.instance import address_instance, default_instance
from dockerspawner._records.ownership import Owner
from dockerspawner._records.volume_history import VolumeHistory
from support.spawners import make_spawner


def on_hub(cookie_secret: bytes, username: str = "ann", **traits: Any) -> Any:
    """A spawner of a hub with that cookie secret."""
    spawner = make_spawner(username, **traits)
    spawner.user.settings = {"cookie_secret": cookie_secret}
    return spawner


def test_default_instance_differs_between_hubs_and_stays_when_the_address_changes() -> None:
    one, other = secrets.token_bytes(32), secrets.token_bytes(32)
    first = on_hub(one, hub_connect_url="http://10.0.0.1:8081/hub/api")
    assert first.instance == on_hub(one, "bob", hub_connect_url="http://10.0.0.2:8081/hub/api").instance
    assert first.instance != on_hub(other, hub_connect_url="http://10.0.0.1:8081/hub/api").instance
    assert first.instance != on_hub(one, prefix="other").instance
    assert one.hex()[:8] not in first.instance


def test_default_instance_without_a_hub_is_the_prefix() -> None:
    assert default_instance("jupyter", None) == make_spawner().instance == "jupyter"


def test_former_default_of_the_present_address_is_known() -> None:
    spawner = on_hub(b"secret", hub_connect_url="http://10.0.0.1:8081/hub/api")
    assert address_instance("jupyter", "http://10.0.0.1:8081/hub/api") in spawner._instances


def test_owners_of_earlier_starts_are_in_the_state_while_something_is_theirs() -> None:
    spawner = make_spawner(instance="now")
    spawner._record_owner(Owner("former", "ann", ""))
    spawner._record_owner(spawner._owner)
    assert spawner.get_state() == {}
    spawner.object_id = "1"
    after = make_spawner("bob", instance="now")
    after.load_state(spawner.get_state())
    assert after._is_renamed
    assert Owner("former", "bob", "") in after._owners
    # The name may be another user's by now.
    assert not {owner.user for owner in after._owners} - {"bob"}


def test_state_of_a_container_without_volumes_is_that_of_dockerspawner_14() -> None:
    spawner = make_spawner()
    spawner._record_owner(spawner._owner)
    spawner.object_id = "1"
    assert sorted(spawner.get_state()) == ["object_id", "object_name"]
    spawner._history = VolumeHistory(last={"/home": "a"})
    assert "owners" in spawner.get_state()


def test_owners_on_record_are_few_and_keep_the_first() -> None:
    spawner = make_spawner()
    for number in range(100):
        spawner._record_owner(Owner(str(number), "ann", ""))
    kept = [owner.instance for owner in spawner._owners_on_record]
    assert (kept[0], kept[-1], len(kept)) == ("0", "99", 16)


@pytest.mark.parametrize("owners", [None, [], [["a"]], "text", {"a": 1}, [None]])
def test_state_that_is_no_state_of_ours_is_ignored(owners: Any) -> None:
    spawner = make_spawner()
    spawner.load_state({"owners": owners})
    assert spawner._owners_on_record == ()


def test_hub_without_settings_is_no_failure() -> None:
    spawner = make_spawner()
    spawner.user = SimpleNamespace(name="ann", settings=None)
    assert spawner.instance == "jupyter"


def test_default_instance_does_not_depend_on_when_it_is_read() -> None:
    early, late = on_hub(b"secret", prefix="lab"), on_hub(b"secret", prefix="lab")
    known = early.instance, early._instances
    for spawner in (early, late):
        spawner.prefix = "gpu"
    assert (late.instance, late._instances) == (early.instance, early._instances) == known


def test_default_instance_of_a_subclass_with_a_prefix_of_its_own_has_it() -> None:
    class Custom(DockerSpawner):
        @property
        def prefix(self) -> str:
            return f"lab-{self._lab}"

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self._lab = 1

    assert on_hub(b"secret", cls=Custom).instance.startswith("lab-1-")
