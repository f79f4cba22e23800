"""What a gate's tests have in common: a kit called `kit`, what is on its engine, and bodies that its spawner sends."""

from __future__ import annotations

import copy
from ipaddress import IPv4Network
from typing import Any

from docker.types import Mount, SecretReference
from docker.types.containers import ContainerConfig

from dockerspawner._networks.link_local import OVERLAY, dead_end
from dockerspawner._networks.user_networks import egress_network, user_network
from dockerspawner._start import specs
from dockerspawner._storage.preparation import helper
from dockerspawner._swarm import specs as service_specs
from dockyard.gate.policy.allowed import Allowed

Json = dict[str, Any]

IMAGE = "kit-singleuser:0.1.0"
API = "1.45"
ALLOWED = Allowed(
    "kit",
    images=(r"kit-singleuser:0\.1\.0", r"quay\.io/jupyter/(?:[a-z-]+:[0-9-]+)"),
    volumes=(r"old-[A-Za-z0-9_.-]+", r"[A-Za-z0-9_.-]+-work"),
    labelled=(r"[A-Za-z0-9_.-]+-work",),
    binds=("/srv/data", "/home/*", "/srv/manual:ro"),
)
OURS, HELPER, FOREIGN, HUB, DATABASE = ("a1" * 32, "a2" * 32, "f0" * 32, "b1" * 32, "b2" * 32)
SECRET, FOREIGN_SECRET = "s1" + "x" * 23, "s0" + "x" * 23
LOG = {"max-size": "10m", "max-file": "2"}
OPEN_FILES = {"name": "nofile", "soft": 65536, "hard": 65536}
LABELS = {"dockyard.instance": "kit", "dockyard.user": "ada", "dockyard.server": ""}


def inspected(container_id: str, name: str, labels: Json) -> Json:
    return {
        "Id": container_id,
        "Name": f"/{name}",
        "Config": {"Labels": labels, "Env": ["SECRET=zq"], "Hostname": container_id[:12]},
        "State": {"Running": True},
        "HostConfig": {"NetworkMode": "kit_users", "Binds": ["/:/host"]},
        "NetworkSettings": {"Networks": {}},
        "Mounts": [{"Source": "/etc"}],
    }


def _compose(service: str) -> Json:
    return {"com.docker.compose.project": "kit", "com.docker.compose.service": service}


_CONTAINERS = [
    inspected(OURS, "kit-ada", LABELS),
    inspected(HELPER, "kit-ada-helper", {"dockyard.helper": "kit"}),
    inspected(FOREIGN, "other", {"dockyard.instance": "other"}),
    inspected(HUB, "kit-hub-1", _compose("hub")),
    inspected(DATABASE, "kit-postgres-1", _compose("postgres")),
]
_VOLUMES = {
    "kit-home-ada": LABELS,
    "old-ada": {},
    "ada-work": LABELS,
    "postgres-work": {},
    "old-hub-data": {"com.docker.compose.project": "old"},
    "kit-of-another": {"dockyard.instance": "other"},
}
_NETWORKS = {
    "kit_users": _compose("users"),
    "kit-ada": LABELS,
    "kit_hub": _compose("hub"),
    "kit-of-another": {"dockyard.instance": "other"},
}
THINGS: Json = {
    **{f"/containers/{key}/json": one for one in _CONTAINERS for key in (one["Id"], one["Name"][1:])},
    **{f"/volumes/{name}": {"Name": name, "Labels": labels} for name, labels in _VOLUMES.items()},
    **{f"/networks/{name}": {"Name": name, "Id": name, "Labels": labels} for name, labels in _NETWORKS.items()},
    f"/secrets/{SECRET}": {"ID": SECRET, "Spec": {"Labels": LABELS}},
    f"/secrets/{FOREIGN_SECRET}": {"ID": FOREIGN_SECRET, "Spec": {"Labels": {}}},
    "/services/kit-ada": {"ID": "sv1", "Spec": {"Name": "kit-ada", "Labels": LABELS}},
    "/services/other": {"ID": "sv0", "Spec": {"Name": "other", "Labels": {}}},
    "/tasks/t1": {"ID": "t1", "Spec": {"ContainerSpec": {"Labels": LABELS}}},
    "/tasks/t0": {"ID": "t0", "Spec": {"ContainerSpec": {"Labels": {}, "Env": ["SECRET=zq"]}}},
    f"/exec/{'c0' * 32}/json": {"ID": "c0" * 32, "ContainerID": FOREIGN},
    "/_ping": {},
    "/version": {"ApiVersion": API},
}


def _spelled(spec: Json) -> Json:
    """As docker-py sends what create_container is given."""
    given = {key: value for key, value in spec.items() if key != "name"}
    return dict(copy.deepcopy(ContainerConfig(API, given.pop("image"), given.pop("command"), **given)))


def server(**changes: Any) -> Json:
    """The body with which the kit's spawner makes a server's container."""
    spec = specs.container(
        specs.Server(
            image=IMAGE,
            name="kit-ada",
            command=["start"],
            environment={"JUPYTERHUB_API_TOKEN": "zq"},
            port=8888,
            network="kit_users",
            binds={"kit-home-ada": {"bind": "/home/jovyan", "mode": "rw"}},
            mount_points=["/home/jovyan"],
            mounts=[Mount("/jupyterhub-ssl", None, no_copy=True, labels=LABELS)],
            mem_limit=2**31,
            swap=False,
            cpu_limit=0.5,
            mem_guarantee=2**20,
            cpu_guarantee=0.1,
            tmp_size=2**29,
            extra_create={"healthcheck": {"test": ["NONE"]}},
            extra_host={
                "cap_drop": ["ALL"],
                "security_opt": ["no-new-privileges"],
                "pids_limit": 1024,
                "log_config": {"type": "json-file", "config": LOG},
                "ulimits": [OPEN_FILES],
                "oom_score_adj": 500,
            },
        )
    )
    return changed(_spelled({**spec, "labels": {**LABELS, "dockyard.spec": "0123"}}), changes)


def helping(**changes: Any) -> Json:
    """The body with which it makes the helper that prepares a volume."""
    spec = helper(IMAGE, "kit-ada-0", "kit-home-ada", "1000:100", "/etc/skel", {"dockyard.helper": "kit"})
    return changed(_spelled(spec), changes)


def service(**changes: Any) -> Json:
    """The body with which the kit's SwarmSpawner makes a service."""
    spec = service_specs.service(
        service_specs.Service(
            image=IMAGE,
            name="kit-ada",
            command=["start"],
            environment={"JUPYTERHUB_API_TOKEN": "zq"},
            port=8888,
            networks=["kit_users", OVERLAY],
            mounts=[Mount("/home/jovyan", "kit-home-ada", labels=LABELS)],
            secrets=[
                SecretReference(SECRET, "kit-ada-key", filename="/jupyterhub-ssl/key.pem", uid="1000", mode=0o400)
            ],
            mem_limit=2**31,
            cpu_limit=0.5,
            mem_guarantee=2**20,
            cpu_guarantee=0.1,
            stop_timeout=1,
            node="n1",
            extra_container={
                "cap_drop": ["ALL"],
                "privileges": {"NoNewPrivileges": True},
                "labels": LABELS,
                "dns_config": {"Nameservers": ["10.0.0.2"]},
                "ulimits": [OPEN_FILES],
            },
            extra_task={"log_driver": {"Name": "json-file", "Options": LOG}},
            extra_resources={"pids_limit": 1024},
        )
    )
    # As docker-py sends what create_service is given.
    body = {"Name": spec["name"], "Labels": LABELS, "TaskTemplate": spec["task_template"], "Mode": None}
    return changed(copy.deepcopy({**body, "Networks": None, "EndpointSpec": spec["endpoint_spec"]}), changes)


def networks() -> list[Json]:
    """The bodies of the networks that the spawner makes."""
    subnet = IPv4Network("10.213.0.8/29")
    made = [user_network("kit-bob", subnet, LABELS), egress_network("kit-egress", subnet, {"dockyard.instance": "kit"})]
    return [
        {
            "Name": one["name"],
            "Driver": one["driver"],
            "Options": one.get("options"),
            "IPAM": one["ipam"],
            "CheckDuplicate": True,
            **({"Labels": one["labels"]} if "labels" in one else {}),
            **({"Internal": True} if one.get("internal") else {}),
        }
        for one in [*made, dead_end()]
    ]


def changed(body: Json, changes: Json) -> Json:
    """`body` with what `changes` has at paths such as HostConfig__Privileged."""
    for path, value in changes.items():
        *above, last = path.split("__")
        inner = body
        for key in above:
            if not isinstance(inner.get(key), dict):
                inner[key] = {}
            inner = inner[key]
        inner[last] = value
    return body
