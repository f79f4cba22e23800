"""Hints: what an operator reads about valid settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockyard.settings import hints, profilesfile


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment; the machine has 24 GB."""
    environ: dict[str, str] = {}
    monkeypatch.setattr("os.environ", environ)
    (tmp_path / "meminfo").write_text("MemFree: 1 kB\nMemTotal:       25165824 kB\n")
    monkeypatch.setattr(hints, "MEMINFO", tmp_path / "meminfo")
    return environ


class TestMemory:
    @pytest.mark.parametrize("name", ["MEM_LIMIT", "MEM_GUARANTEE"])
    def test_memory_above_the_machines_is_reported(self, environ: dict[str, str], name: str) -> None:
        environ[name] = "500G"
        (said,) = hints.hints()
        assert said.startswith(f"{name}=500G is more memory than this machine has (24G)")

    @pytest.mark.parametrize("amount", ["24G", "2G", "lots", ""])
    def test_memory_within_the_machines_or_wrong_is_not(self, environ: dict[str, str], amount: str) -> None:
        environ["MEM_LIMIT"] = amount
        assert hints.hints() == []

    def test_memory_of_profiles_is_reported_with_its_path(self) -> None:
        text = "- display_name: A\n- display_name: B\n  docker_override: {mem_limit: 1T, mem_guarantee: '{value}'}\n"
        (said,) = hints.of_the_machine(profilesfile.read(text)[0])
        assert said.startswith("PROFILES_FILE, profile_list[1].docker_override.mem_limit=1T is more memory than")

    def test_memory_on_a_swarm_is_compared_with_its_nodes(self, environ: dict[str, str]) -> None:
        environ |= {"SPAWNER": "swarm", "MEM_LIMIT": "500G"}
        assert hints.hints() == []
        environ["MACHINE_MEMORY"] = str(2**39)
        assert hints.hints() == []
        environ["MACHINE_MEMORY"] = str(2**38)
        (said,) = hints.hints()
        assert said.startswith("MEM_LIMIT=500G is more memory than any node of the swarm has (256G)")

    def test_tmp_size_of_a_profile_on_a_swarm_is_reported(
        self, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        profile = {"display_name": "A", "docker_override": {"tmp_size": "2G"}}
        monkeypatch.setattr(hints, "profiles", lambda: [profile])
        assert hints.hints() == []
        environ["SPAWNER"] = "swarm"
        (said,) = hints.hints()
        assert said.startswith("PROFILES_FILE, ")
        assert "docker_override.tmp_size has no effect on a swarm" in said

    def test_memory_of_an_unknown_machine_is_not_guessed(
        self, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        environ["MEM_LIMIT"] = "500G"
        monkeypatch.setattr(hints, "MEMINFO", tmp_path / "missing")
        assert hints.hints() == []


class TestPaths:
    @pytest.mark.parametrize(
        "entry",
        ["/home/*", "/home", "/home/ada", "/root", "/etc", "/etc/cron.d", "/var", "/var/*", "/var/lib/docker/volumes",
         "/srv", "/usr/local", "/proc", "/Users/*", "/opt"],
    )  # fmt: skip
    def test_paths_that_give_away_the_host_are_reported(self, environ: dict[str, str], entry: str) -> None:
        environ["BIND_PATHS"] = f"/data,{entry}"
        (said,) = hints.hints()
        assert said.startswith(f"BIND_PATHS has {entry}, where the host's users and programs keep more than data.")
        assert "could write .ssh/authorized_keys" in said
        environ["BIND_PATHS"] = f"{entry}:ro"
        (said,) = hints.hints()
        assert said.startswith(f"BIND_PATHS has {entry}:ro, where the host's users")
        assert "could read keys and passwords there" in said

    @pytest.mark.parametrize(
        "entry", ["/srv/*", "/srv/data", "/data", "/mnt/teams/*:ro", "/var/local/data", "/home/a/data"]
    )
    def test_paths_that_hold_data_are_not(self, environ: dict[str, str], entry: str) -> None:
        environ["BIND_PATHS"] = entry
        assert hints.hints() == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"BIND_ADDR": "0.0.0.0"}, True),
        ({"BIND_ADDR": "10.0.0.1", "PUBLIC_URL": "http://hub.example.org"}, True),
        ({"BIND_ADDR": "0.0.0.0", "PUBLIC_URL": "https://hub.example.org"}, False),
        ({"BIND_ADDR": "0.0.0.0", "AUTH": "github"}, False),
        ({"BIND_ADDR": "127.0.0.1"}, False),
    ],
)
def test_passwords_that_cross_a_network_unencrypted_are_reported(
    environ: dict[str, str], given: dict[str, str], said: bool
) -> None:
    environ |= given
    assert ["passwords cross the network unencrypted" in line for line in hints.hints()] == [True] * said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"MAX_SLEEPING": "7"}, "MAX_SLEEPING has no effect without CULL_ACTION=sleep"),
        ({"VOLUME_OWNER": "0:0"}, "VOLUME_OWNER has no effect without SHARED_VOLUMES"),
        ({"USER_SUBNET_POOL": "10.9.0.0/20"}, "USER_SUBNET_POOL has no effect without NETWORK_ISOLATION=per-user"),
        ({"OAUTH_CLIENT_ID": "x"}, "OAUTH_CLIENT_ID has no effect with AUTH=password"),
    ],
)
def test_settings_that_another_one_switches_off_are_reported(
    environ: dict[str, str], given: dict[str, str], said: str
) -> None:
    environ |= given
    assert hints.hints() == [said]


def test_defaults_have_no_hints() -> None:
    assert hints.hints() == []
