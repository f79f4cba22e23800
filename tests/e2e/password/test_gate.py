"""A hub that was taken over: whatever runs in its container, the host's files stay the host's."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from support.kit import Kit
from support.probing import listens_on

# Prints what came of each way to a file of the host.
ATTACK = """
import docker, json, os
image, project = os.environ["NOTEBOOK_IMAGE"], os.environ["COMPOSE_PROJECT_NAME"]
client = docker.from_env().api
hard = {"network_mode": f"{project}_users", "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}
hard |= {"mem_limit": "2G", "memswap_limit": "2G", "pids_limit": 1024}
ways = {
    "as the kit does": {},
    "bind": {"binds": ["/:/host:ro"]},
    "privileged": {"privileged": True},
    "processes": {"pid_mode": "host"},
    "devices": {"devices": ["/dev/sda"]},
    "memory": {"mem_limit": "3G", "memswap_limit": "3G"},
    "memory without limit": {"mem_limit": None, "memswap_limit": None},
    "swap": {"memswap_limit": -1},
    "processes without limit": {"pids_limit": -1},
    "OOM score": {"oom_score_adj": -1000},
    "ulimits": {"ulimits": [{"name": "nofile", "soft": -1, "hard": -1}]},
    "log": {"log_config": {"type": "syslog", "config": {"syslog-address": "udp://192.0.2.1:514"}}},
}
came = {}
for name, way in ways.items():
    try:
        host = client.create_host_config(**hard | way)
        made = client.create_container(image, ["cat", "/host/etc/shadow"], name=f"{project}-evil", host_config=host)
        client.remove_container(made["Id"])
        came[name] = "made"
    except docker.errors.APIError as error:
        came[name] = error.status_code
try:
    client.create_volume(f"{project}-etc", driver_opts={"type": "none", "o": "bind", "device": "/etc"})
    client.remove_volume(f"{project}-etc")
    came["volume"] = "made"
except docker.errors.APIError as error:
    came["volume"] = error.status_code
came["socket"] = os.path.exists("/var/run/docker.sock")
came["others"] = [one["Names"] for one in client.containers(all=True)]
print(json.dumps(came))
"""


def attacked(kit: Kit) -> Any:
    done = kit.container("hub").exec_run(["python3", "-c", ATTACK])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_code_in_the_hub_comes_to_no_file_of_the_host(running: Kit) -> None:
    came = attacked(running)
    assert came.pop("as the kit does") == "made"
    assert (came.pop("socket"), came.pop("others")) == (False, [])
    assert len(came) == 12
    assert set(came.values()) == {403}, came
    log = running.container("gate").logs().decode()
    notes = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert len([note for note in notes if note["gate"] == "refused" and "evil" in note["path"]]) >= 4


def test_the_log_outlives_the_gate_and_names_what_was_created(running: Kit) -> None:
    attacked(running)
    before = running.container("gate").id
    running.compose("up", "--detach", "--wait", "--force-recreate", "--no-deps", "gate")
    gate = running.container("gate")
    assert gate.id != before
    log = gate.exec_run(["cat", "/var/log/gate/refused.jsonl", "/var/log/gate/created.jsonl"]).output.decode()
    notes = [json.loads(line) for line in log.splitlines()]
    assert [note for note in notes if note["gate"] == "refused" and "-evil" in note["path"]]
    made = [note for note in notes if note["gate"] == "done" and note["path"].endswith("-evil")][-1]
    assert made["image"] == f"{running.project}-singleuser:0.1.0"
    assert len(made["command"]) == 64


def test_the_gate_knows_no_secret_of_the_kits(running: Kit) -> None:
    gate = running.container("gate")
    environment = gate.exec_run(["cat", "/proc/1/environ"]).output.decode()
    assert [secret for secret in running.secrets() if secret in environment] == []


def test_nobody_reaches_the_gate_but_the_hub(running: Kit) -> None:
    """Nor do the host's users, who reach containers' addresses: it has none, and its socket's folder is closed."""
    gate = running.container("gate")
    assert {*gate.attrs["NetworkSettings"]["Networks"]} == {"none"}
    assert listens_on(gate) == set()
    for container in (gate, running.container("hub")):
        said = container.exec_run(["stat", "-c", "%a %u %F", "/run/gate", "/run/gate/engine.sock"]).output.decode()
        assert said == "700 1000 directory\n755 1000 socket\n"
    folder = running.client.volumes.get(f"{running.project}_gate").attrs["Mountpoint"]
    somebody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    assert subprocess.run(["test", "-S", f"{folder}/engine.sock"], **somebody).returncode == 1


@pytest.fixture
def switched_off(running: Kit) -> Iterator[Kit]:
    running.write_env(ENGINE_ACCESS="socket")
    running.compose("up", "--detach", "--wait", "gate")
    yield running
    running.write_env(ENGINE_ACCESS=None)
    running.compose("up", "--detach", "--wait", "gate")


def test_a_gate_that_is_switched_off_while_servers_run(running: Kit, switched_off: Kit) -> None:
    heidi = switched_off.user("heidi").sign_in().started()
    assert attacked(switched_off)["bind"] == "made"
    heidi.stop()
    assert not [server for server in switched_off.servers() if "heidi" in server.name]
