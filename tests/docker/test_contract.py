"""The drop-in contract: this package offers what dockerspawner 14 offers, or the CHANGELOG records the absence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.repo import ROOT
from support.venvs import python_of

Offer = dict[str, Any]

# Names that modules of dockerspawner 14 import from the standard library and from escapism.
IMPORTED = (
    "BytesIO", "TarFile", "TarInfo", "ThreadPoolExecutor", "dedent", "escape", "indent", "inspect", "json", "os",
    "partial", "pformat", "string", "urlparse", "warnings",
)  # fmt: skip
HANDLER = "traitlets calls it, and ours are arranged otherwise"
IGNORED = "ignored with a warning: reads as None"

# Each difference from dockerspawner 14, by name, with its reason. The CHANGELOG lists each of them.
DEPARTURES = {
    **dict.fromkeys(IMPORTED, "to be imported from where they are"),
    "_deprecated_method": "makes deprecated methods of its own module",
    **dict.fromkeys(("_old_name", "_new_name", "_version"), "left over from a loop"),
    **dict.fromkeys(
        (
            "_cast_cpu_limit",
            "_client_env_changed",
            "_deprecated_trait",
            "_ip_connect_changed",
            "_ip_default",
            "_mem_limit_str",
            "_port_default",
            "_tls_changed",
        ),
        HANDLER,
    ),
    **dict.fromkeys(("certs_volume_name", "move_certs_image", "hub_ip_connect", "use_docker_client_env"), IGNORED),
    **dict.fromkeys(
        ("container_name_template", "container_prefix", "image_whitelist", "remove_containers"),
        "reads as the setting that replaces it",
    ),
    **dict.fromkeys(("cpu_limit", "mem_limit"), "None is no limit; 0 was, too"),
    "format_volume_name": "refused at once where it can't be called",
    "mounts": "a list of dicts, and on a swarm a setting",
    "remove": "a setting on a swarm, too, which is always True",
    "use_internal_ip": "without a network the node publishes the port",
}


def offer_of(python: str, modules: dict[str, list[str]] | None = None) -> Offer:
    # By standard input: otherwise Python would first search the script's folder, which has a jupyterhub.py.
    with open(ROOT / "tests/support/contract.py") as script:
        run = subprocess.run(
            [python, "-", json.dumps(modules or {})], stdin=script, cwd=ROOT, capture_output=True, text=True
        )
    assert run.returncode == 0, run.stderr[-3000:]
    offer: Offer = json.loads(run.stdout)
    return offer


@pytest.fixture(scope="module")
def predecessor() -> Offer:
    return offer_of(python_of("predecessor"))


@pytest.fixture(scope="module")
def ours(predecessor: Offer) -> Offer:
    return offer_of(sys.executable, predecessor["modules"])


def callable_like(before: Offer, now: Offer) -> bool:
    """Do the parameters of a method allow the same calls as before?"""
    kept = [tuple(parameter) for parameter in before["parameters"]]
    found = [tuple(parameter) for parameter in now["parameters"]]
    return found[: len(kept)] == kept and all(optional for _, _, optional in found[len(kept) :])


def difference(before: Offer, now: Offer | None) -> str:
    """Describe what a subclass or a configuration would miss of a member; empty if nothing."""
    if now is None:
        return "is missing"
    # A function that generates a default is called like a method.
    kinds = [one["kind"].replace("default", "method") for one in (before, now)]
    if kinds[0] != kinds[1]:
        return f"is a {kinds[1]}, not a {kinds[0]}"
    if kinds[0] == "method":
        return "" if callable_like(before, now) else f"has parameters {now['parameters']}, not {before['parameters']}"
    if kinds[0] != "trait":
        return ""
    if refused := [value for value in before["accepts"] if value not in now["accepts"]]:
        return f"refuses {', '.join(refused)}"
    changed = [f"{one} {now[one]!r}, not {before[one]!r}" for one in ("config", "default") if before[one] != now[one]]
    return f"has {'; '.join(changed)}" if changed else ""


def differences(predecessor: Offer, ours: Offer) -> Iterator[tuple[str, str, str]]:
    """Where, which name, and what differs."""
    for module, names in predecessor["modules"].items():
        for name in names:
            if name not in ours["modules"][module]:
                yield module, name, "is missing"
    for cls, members in predecessor["classes"].items():
        for name, before in members.items():
            if found := difference(before, ours["classes"][cls].get(name)):
                yield cls, name, found


def test_contract_has_no_difference_that_is_not_recorded(predecessor: Offer, ours: Offer) -> None:
    found = list(differences(predecessor, ours))
    assert [one for one in found if one[1] not in DEPARTURES] == []
    assert sorted(DEPARTURES.keys() - {name for _, name, _ in found}) == []


def test_contract_departures_are_in_the_changelog() -> None:
    quoted = set(re.findall(r"`([^`]+)`", (ROOT / "spawner/CHANGELOG.md").read_text()))
    assert sorted(name for name in DEPARTURES if name not in quoted) == []


def test_contract_covers_what_it_is_for(predecessor: Offer) -> None:
    members = predecessor["classes"]["DockerSpawner"]
    assert {members[name]["kind"] for name in ("image", "client", "get_object", "_get_ssl_alt_names")} == {
        "trait",
        "property",
        "method",
        "default",
    }
    assert predecessor["modules"]["dockerspawner._version"] == ["__version__", "version_info"]
