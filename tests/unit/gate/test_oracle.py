"""Whatever is asked for: what the gate would send on opens nothing, as somebody else judges it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerspawner._networks.link_local import OVERLAY
from dockyard.gate import strict
from dockyard.gate.policy import checks
from dockyard.gate.strict import Refused
from support.bodies import ALLOWED, FOREIGN, IMAGE, helping, server, service
from support.danger import HARMLESS_MODES, NEVER, NEVER_OF_A_SERVICE, dangers, dangers_of_a_service
from unit.gate.test_containers import BODIES, SERVICES, TEMPLATE

PATHS = {"/srv/data", "/home/ada"}
NETWORKS = {"kit_users", "kit-ada", "kit-bob"}
# What opens nothing by itself, and what only the engine knows.
BEYOND = {
    "foreign network",
    "database's network",
    "second network",
    "a name that others may look for",
    "a helper's environment",
    "alias on a network",
    "address on a network",
    "foreign volume by a bind",
    "foreign volume by a mount",
    "shareable memory",
    "names of the host",
    "spared when memory runs out",
    "spared a little",
    "a log without a size",
    "a log without options",
    "a log without end",
    "a huge log",
    "a log of many files",
    "a log with labels",
    "too many files",
    "a health check",
    "a health check after none",
    "a health check by a shell",
    "the image's health check more often",
    "no health check, often",
    "no health check in another case",
    "a helper's health check",
    "GPUs by the environment",
    "GPUs by CDI's names",
    "another variable of the GPUs' runtime",
    "no GPUs after all",
    "GPUs that are almost void",
    "an address",
    "an open input",
    "an unknown field",
    "wrong type",
    "wrong type of a truth",
    "consistency",
    "a path's content not copied",
    "never stopped",
    "relabelled",
    "relabelled and read only",
    "relabelled for all",
    "stopped in an hour",
    "two propagations",
    "bind, not recursive",
    "bind that makes its source",
    "options of another type",
    "labels of a volume",
    "a label without end",
    "a name of a label without end",
    "labels without end",
    "a helper that is a server",
    "a helper of both kinds",
    "a helper's command",
    "a helper's other script",
    "a helper's other target",
    "a helper's owner",
    "a helper's two volumes",
    *(name for name in BODIES if name.startswith("a helper's user")),
    "a helper's volume where programs are",
}

# The same of a service.
BEYOND_SERVICES = {
    "a secret above its folder",
    "a secret at /proc",
    "stopped in an hour",
    "GPUs by the environment",
    "GPUs that no setting gives",
    "a log without end",
    "a log without options",
    "a name that others may look for",
    "environment by a template",
    "foreign secret",
    "health check",
    "name",
    "search domain",
    "target by a template",
}

FIELDS = [
    "Privileged",
    "NetworkMode",
    "PidMode",
    "IpcMode",
    "UTSMode",
    "UsernsMode",
    "CgroupnsMode",
    "CgroupParent",
    "Cgroup",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "CapAdd",
    "CapDrop",
    "SecurityOpt",
    "MaskedPaths",
    "ReadonlyPaths",
    "Sysctls",
    "Runtime",
    "Isolation",
    "VolumesFrom",
    "VolumeDriver",
    "RestartPolicy",
    "AutoRemove",
    "PortBindings",
    "PublishAllPorts",
    "Links",
    "ContainerIDFile",
    "LogConfig",
    "Binds",
    "Mounts",
    "Tmpfs",
    "Memory",
    "PidsLimit",
    "Init",
    "ReadonlyRootfs",
    "GroupAdd",
    "Ulimits",
    "StorageOpt",
    "ShmSize",
    "Dns",
    "ExtraHosts",
    "Annotations",
]
TEXTS = [
    "",
    TEMPLATE,
    "host",
    "none",
    "private",
    "shareable",
    "kit_users",
    "kit-ada",
    "bridge",
    f"container:{FOREIGN}",
    "/",
    "/etc",
    "/srv/data",
    "/srv/data/x",
    "/home/ada",
    "/home",
    "..",
    "kit-x",
    "secrets",
    "/:/host",
    "/srv/data:/d",
    "/srv/data:/d:rshared",
    "kit-x:/d:ro",
    "/home/ada:/h:rslave",
    "kit-x:/d:Z",
    "ALL",
    "SYS_ADMIN",
    "CHOWN",
    "no-new-privileges",
    "no-new-privileges:true",
    "seccomp=unconfined",
    "local",
    "json-file",
    "syslog",
    "volume",
    "bind",
    "tmpfs",
    "image",
    "runc",
    "always",
    "rshared",
    "private",
]
KEYS = [
    "Type",
    "Source",
    "Target",
    "Name",
    "Options",
    "VolumeOptions",
    "BindOptions",
    "DriverConfig",
    "Subpath",
    "Propagation",
    "Config",
    "device",
]

FIELDS_OF_SERVICES = [
    "CapabilityAdd",
    "CapabilityDrop",
    "Configs",
    "Container",
    "DriverOpts",
    "EndpointSpec",
    "Image",
    "Isolation",
    "Labels",
    "LogDriver",
    "Mode",
    "Mounts",
    "Networks",
    "OomScoreAdj",
    "PluginSpec",
    "Ports",
    "Privileges",
    "RestartPolicy",
    "Runtime",
    "Sysctls",
    "Ulimits",
    "User",
]

texts = st.sampled_from(TEXTS)
scalars = st.none() | st.booleans() | st.integers(-2, 2000) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=6,
)
mounts = st.fixed_dictionaries(
    {
        "Target": st.sampled_from(["/d", "/d", "/d/", "/dev/shm", "//proc", "/"]),
        "Source": texts,
        "Type": st.sampled_from(["volume", "bind", "tmpfs"]),
    },
    optional={
        "ReadOnly": st.booleans(),
        "BindOptions": st.fixed_dictionaries({}, optional={"Propagation": texts, "NonRecursive": st.booleans()}),
        "VolumeOptions": st.fixed_dictionaries(
            {}, optional={"NoCopy": st.booleans(), "Subpath": texts, "DriverConfig": values}
        ),
    },
)
# Of the right kind, so that some get through.
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "Binds": st.lists(texts, max_size=2),
    "Mounts": st.lists(mounts, max_size=2),
    "CapAdd": st.lists(texts, max_size=1),
    "CapDrop": st.lists(texts, max_size=2),
    "SecurityOpt": st.lists(texts, max_size=2),
    "NetworkMode": texts,
}
ulimits = st.fixed_dictionaries(
    {
        "Name": st.sampled_from(["nofile", "nproc", "memlock", "rtprio", "nice"]),
        "Soft": st.integers(-1, 2000),
        "Hard": st.sampled_from([-1, 0, 1024, 2**20, 2**41, 2**62]),
    }
)
LIKELY["Ulimits"] = st.lists(ulimits, max_size=2)
LIKELY_OF_SERVICES: dict[str, st.SearchStrategy[Any]] = {
    "Mounts": st.lists(mounts, max_size=2),
    "Networks": st.lists(st.fixed_dictionaries({"Target": texts}, optional={"Aliases": values}), max_size=2),
    "CapabilityDrop": st.lists(st.sampled_from(["ALL", "all", "CHOWN"]), max_size=2),
    "Privileges": st.fixed_dictionaries({"NoNewPrivileges": st.booleans()}, optional={"Seccomp": values}),
    "RestartPolicy": st.fixed_dictionaries({"Condition": st.sampled_from(["none", "any", "on-failure"])}),
    "LogDriver": st.fixed_dictionaries({"Name": texts}, optional={"Options": st.just({"max-size": "1m"})}),
    "Ulimits": st.lists(ulimits, max_size=2),
    "Image": st.sampled_from([IMAGE, "alpine"]),
    "User": texts,
}
spelled = st.sampled_from([str, str, str, str.lower, str.upper])
# Not its simplest value, which is drawn more often than others.
rarely = st.integers(0, 9).map(lambda number: number == 7)


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """A body of the spawner's with some of it changed, in JSON."""
    body = copy.deepcopy(draw(st.sampled_from([server(), server(), helping()])))
    for name in draw(st.lists(st.sampled_from([*FIELDS, *LIKELY, *LIKELY]), max_size=3)):
        where = body["HostConfig"] if draw(st.integers(0, 9)) else body
        where[draw(spelled)(name)] = draw(LIKELY.get(name, values) if draw(st.integers(0, 4)) else values)
    if not draw(st.integers(0, 4)):
        body["Image"] = draw(st.sampled_from([IMAGE, "alpine", f"{IMAGE}@sha256:{'0' * 64}"]))
    if not draw(st.integers(0, 4)):
        body["Labels"] = draw(
            values
            | st.dictionaries(
                st.sampled_from(["dockyard.instance", "dockyard.helper", "dockyard.user", "traefik.enable"]),
                st.sampled_from(["kit", "x"]),
            )
        )
    text = json.dumps(body)
    return text.replace('"Binds"', '"Binds": [], "Binds"', 1) if draw(rarely) else text


@st.composite
def services(draw: st.DrawFn) -> str:
    """As `bodies`, of a service."""
    body = copy.deepcopy(service())
    layers = [body, body["TaskTemplate"], body["TaskTemplate"]["ContainerSpec"], body["EndpointSpec"]]
    for name in draw(st.lists(st.sampled_from([*FIELDS_OF_SERVICES, *list(LIKELY_OF_SERVICES) * 5]), max_size=2)):
        # Mostly where it belongs.
        where = draw(st.sampled_from([*layers, *[layer for layer in layers if name in layer] * 9]))
        where[draw(spelled)(name)] = draw(LIKELY_OF_SERVICES.get(name, values) if draw(st.integers(0, 4)) else values)
    text = json.dumps(body)
    return text.replace('"Mounts"', '"Mounts": [], "Mounts"', 1) if draw(rarely) else text


def judged(body: Any) -> list[str]:
    return dangers(body, {IMAGE}, PATHS, NETWORKS, "kit")


def judged_service(body: Any) -> list[str]:
    return dangers_of_a_service(body, {IMAGE}, PATHS, {*NETWORKS, OVERLAY}, "kit")


def sent_on(text: str, making: Any, judging: Any) -> bool:
    """Does the gate send this on? Then it is harmless."""
    try:
        order = making(ALLOWED, strict.json_object(text.encode()))
    except Refused:
        return False
    if order.networks <= NETWORKS:
        # Of others the engine is asked whose they are.
        assert judging(json.loads(json.dumps(order.body))) == []
    return True


@pytest.mark.parametrize(
    ("texts", "making", "judging"),
    [(bodies(), checks.container, judged), (services(), checks.service, judged_service)],
    ids=["containers", "services"],
)
def test_what_is_sent_on_is_harmless(texts: st.SearchStrategy[str], making: Any, judging: Any) -> None:
    sent: list[bool] = []

    @settings(max_examples=1500, deadline=None)
    @given(texts)
    def try_all(text: str) -> None:
        sent.append(sent_on(text, making, judging))

    try_all()
    # Else nothing was judged.
    assert sum(sent) > 30


@pytest.mark.parametrize("name", sorted(BODIES.keys() - BEYOND))
def test_the_oracle_knows_what_is_dangerous(name: str) -> None:
    assert judged(BODIES[name])


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - BEYOND_SERVICES))
def test_the_oracle_knows_what_is_dangerous_in_a_service(name: str) -> None:
    assert judged_service(SERVICES[name])


def test_the_oracle_lets_pass_what_the_spawner_sends() -> None:
    assert judged(server()) == judged(helping()) == judged_service(service()) == []


@pytest.mark.parametrize("field", [*NEVER, *HARMLESS_MODES])
def test_the_oracle_reads_as_the_engine_does(field: str) -> None:
    assert judged(server(**{f"HostConfig__{field.title()}": "host"}))


@pytest.mark.parametrize("field", NEVER_OF_A_SERVICE)
def test_the_oracle_reads_a_service_as_the_engine_does(field: str) -> None:
    assert judged_service(service(**{field.title(): ["x"]}))
