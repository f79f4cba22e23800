from __future__ import annotations

from typing import Any

import pytest

from dockerspawner._records.volume_history import VolumeHistory, volume_of


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"volumes": {"/home": "a"}},
        {"volumes": {"/home": "a"}, "volumes_profile": "p"},
        {"volumes_by_profile": {"p": {"/home": "a"}}},
        {"volumes": {"/home": "a"}, "volumes_by_profile": {"p": {"/home": "b"}}, "earlier_volumes": ["c"]},
    ],
)
def test_volume_history_of_a_state_gives_that_state(state: dict[str, Any]) -> None:
    assert VolumeHistory.of(state).as_state() == state


def test_volume_history_of_a_broken_state_is_empty() -> None:
    broken = {"volumes": None, "volumes_profile": None, "volumes_by_profile": [1], "earlier_volumes": "x"}
    assert VolumeHistory.of(broken) == VolumeHistory()


def test_volume_history_after_starts_with_the_same_volumes_has_one_key() -> None:
    history = VolumeHistory()
    for _ in range(3):
        history = history.after({"/home": "a"}, "")
    assert history.as_state() == {"volumes": {"/home": "a"}}


def test_volume_history_after_other_profiles_keeps_each_profiles_last_volumes() -> None:
    history = VolumeHistory().after({"/home": "home", "/old": "old"}, "p").after({}, "q").after({"/x": "x"}, "r")
    assert history.at("/home", "p") == "home"
    assert history.at("/home", "r") == ""
    history = VolumeHistory.of(history.as_state()).after({"/home": "home-2"}, "p")
    assert (history.at("/home", "p"), history.at("/x", "r")) == ("home-2", "x")
    assert history.names == {"home-2", "x", "home", "old"}
    assert set(history.earlier) == {"home", "old"}


def test_volume_history_after_many_starts_keeps_the_latest_names() -> None:
    history = VolumeHistory()
    for number in range(300):
        history = history.after({"/home": f"v{number}"}, "")
    assert history.earlier == tuple(f"v{number}" for number in range(99, 299))
    for number in range(60):
        history = history.after({"/home": f"p{number}"}, str(number))
    assert len(history.by_profile) == 50
    assert "p0" in history.names


def test_volume_history_has_the_volumes_of_parts() -> None:
    history = VolumeHistory().after({"/home": "homes/ann", "/data": "data"}, "")
    assert history.names == {"homes/ann", "data"}
    assert history.volumes == {"homes", "data"}
    assert volume_of("homes/a/b") == "homes"
