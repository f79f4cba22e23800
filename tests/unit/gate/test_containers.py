"""Containers and services that a hub which was taken over would ask for. Each is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dockyard.gate.policy import checks
from support.bodies import ALLOWED, FOREIGN, FOREIGN_SECRET, IMAGE, LABELS, SECRET, helping, server, service
from support.gate import Gate

CREATE = "/v1.45/containers/create?name=kit-ada"


def host(**changes: Any) -> Any:
    return server(**{f"HostConfig__{name}": value for name, value in changes.items()})


def mount(**about: Any) -> Any:
    return host(Mounts=[{"Target": "/mnt", "Source": "kit-x", "Type": "volume", "ReadOnly": False, **about}])


def task(**changes: Any) -> Any:
    return service(**{f"TaskTemplate__ContainerSpec__{name}": value for name, value in changes.items()})


DEVICE = {"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}
AS_BIND = {"Name": "local", "Options": {"type": "none", "o": "bind", "device": "/"}}
HELP, (HELPS,) = helping()["Entrypoint"], helping()["HostConfig"]["Mounts"]
# /home/../etc, as a node of a swarm would read it.
TEMPLATE = '/home/{{printf "..%cetc" 47}}'

# Places where nobody's server has a mount, or its working directory, as Linux reads them.
KERNELS_PLACES = [
    *("/proc", "/proc/", "//proc", "/./proc", "/proc/self/fd/8", "/proc/./1", "/sys", "/sys/fs/cgroup", "//sys//fs"),
    *("/dev", "/dev/", "/dev/sda", "/dev/fd/8", "/dev//mqueue", "/dev/shmem", "/dev/./pts"),
    *("/home/../proc", "/dev/shm/../sda"),
    *("/", "//", "/.", "/./", "/home/.."),
]
BY_PLACE: dict[str, Any] = {
    **{f"a bind at {place}": host(Binds=[f"/srv/data:{place}"]) for place in KERNELS_PLACES},
    **{f"a volume by a bind at {place}": host(Binds=[f"kit-x:{place}:ro"]) for place in KERNELS_PLACES},
    **{f"a volume at {place}": mount(Target=place) for place in KERNELS_PLACES},
    **{f"memory at {place}": mount(Target=place, Type="tmpfs", Source=None) for place in KERNELS_PLACES},
    **{f"Tmpfs at {place}": host(Tmpfs={place: ""}) for place in KERNELS_PLACES},
    **{f"a volume without a name at {place}": server(Volumes={place: {}}) for place in KERNELS_PLACES},
    **{f"a working directory at {place}": server(WorkingDir=place) for place in KERNELS_PLACES},
    "a working directory that is relative": server(WorkingDir="proc/self/fd/8"),
}

# What is asked for, and the body of a create that asks for it.
BODIES: dict[str, Any] = {
    "privileged": host(Privileged=True),
    "network of the host": host(NetworkMode="host"),
    "network of another container": host(NetworkMode=f"container:{FOREIGN}"),
    "default network": host(NetworkMode="default"),
    "default bridge": host(NetworkMode="bridge"),
    "no network named": host(NetworkMode=""),
    "foreign network": host(NetworkMode="kit-of-another"),
    "database's network": host(NetworkMode="kit_hub"),
    "second network": server(NetworkingConfig={"EndpointsConfig": {"kit_hub": {}}}),
    "alias on a network": server(NetworkingConfig={"EndpointsConfig": {"kit_users": {"Aliases": ["hub"]}}}),
    "address on a network": server(
        NetworkingConfig={"EndpointsConfig": {"kit_users": {"IPAMConfig": {"IPv4Address": "10.0.0.2"}}}}
    ),
    "processes of the host": host(PidMode="host"),
    "processes of another": host(PidMode=f"container:{FOREIGN}"),
    "memory of the host": host(IpcMode="host"),
    "memory of another": host(IpcMode=f"container:{FOREIGN}"),
    "shareable memory": host(IpcMode="shareable"),
    "names of the host": host(UTSMode="host"),
    "users of the host": host(UsernsMode="host"),
    "groups of the host": host(CgroupnsMode="host"),
    "group of another's": host(CgroupParent="/docker/x"),
    "group by its old name": host(Cgroup=f"container:{FOREIGN}"),
    "a device": host(Devices=[DEVICE]),
    "rules for devices": host(DeviceCgroupRules=["a *:* rwm"]),
    "GPUs that no setting gives": host(DeviceRequests=[{"Count": -1, "Capabilities": [["gpu"]]}]),
    "devices of another driver": host(
        DeviceRequests=[{"Driver": "cdi", "DeviceIDs": ["x/y=z"], "Capabilities": [["gpu"]]}]
    ),
    "a capability": host(CapAdd=["SYS_ADMIN"]),
    "all capabilities": host(CapAdd=["ALL"]),
    "capabilities kept": host(CapDrop=["NET_RAW"]),
    "capabilities not dropped": host(CapDrop=None),
    "no seccomp": host(SecurityOpt=["no-new-privileges", "seccomp=unconfined"]),
    "no AppArmor": host(SecurityOpt=["apparmor=unconfined"]),
    "no labels": host(SecurityOpt=["label=disable"]),
    "system paths": host(SecurityOpt=["systempaths=unconfined"]),
    "new privileges": host(SecurityOpt=["no-new-privileges:false"]),
    "privileges not said": host(SecurityOpt=[]),
    "unmasked paths": host(MaskedPaths=[]),
    "writable paths": host(ReadonlyPaths=[]),
    "a kernel setting": host(Sysctls={"kernel.shm_rmid_forced": "1"}),
    "a runtime": host(Runtime="other"),
    "a runtime at the top": server(Runtime="other"),
    "isolation": host(Isolation="process"),
    "volumes of another": host(VolumesFrom=[FOREIGN]),
    "a volume driver": host(VolumeDriver="vieux/sshfs"),
    "restarts": host(RestartPolicy={"Name": "always"}),
    "removal by itself": host(AutoRemove=True),
    "ports of the host": host(PortBindings={"22/tcp": [{"HostPort": "22"}]}),
    "all ports": host(PublishAllPorts=True),
    "links": host(Links=["kit-postgres-1:db"]),
    "a file of the host": host(ContainerIDFile="/etc/cron.d/x"),
    "a log driver": host(LogConfig={"Type": "syslog", "Config": {"syslog-address": "udp://x"}}),
    "a log to another machine by its name's case": host(LogConfig={"type": "syslog", "config": {}}),
    "a log without a size": host(LogConfig={"Type": "json-file", "Config": {"max-file": "2"}}),
    "a log without options": host(LogConfig={"Type": "json-file"}),
    "a log without end": host(LogConfig={"Type": "json-file", "Config": {"max-size": "-1"}}),
    "a huge log": host(LogConfig={"Type": "json-file", "Config": {"max-size": "2g"}}),
    "a log of many files": host(LogConfig={"Type": "local", "Config": {"max-size": "100m", "max-file": "100"}}),
    "a log with labels": host(LogConfig={"Type": "json-file", "Config": {"max-size": "1m", "labels": "x"}}),
    "any number of files": host(Ulimits=[{"Name": "nofile", "Soft": -1, "Hard": -1}]),
    "too many files": host(Ulimits=[{"Name": "nofile", "Soft": 1024, "Hard": 2**20 + 1}]),
    "locked memory without limit": host(Ulimits=[{"Name": "memlock", "Soft": 2**63 - 1, "Hard": 2**63 - 1}]),
    "real-time priority": host(Ulimits=[{"Name": "rtprio", "Soft": 99, "Hard": 99}]),
    "priority over others": host(Ulimits=[{"Name": "nice", "Soft": 40, "Hard": 40}]),
    "spared when memory runs out": host(OomScoreAdj=-1000),
    "spared a little": host(OomScoreAdj=-1),
    "the root by a bind": host(Binds=["/:/host"]),
    "the root, read only": host(Binds=["/:/host:ro"]),
    "the engine's socket": host(Binds=["/var/run/docker.sock:/s"]),
    "below an allowed path": host(Binds=["/srv/data/link:/d"]),
    "above an allowed path": host(Binds=["/srv:/d"]),
    "beside an allowed path": host(Binds=["/srv/data2:/d"]),
    "around an allowed path": host(Binds=["/srv/data/../../etc:/d"]),
    "the parent of all homes": host(Binds=["/home:/d"]),
    "within a home": host(Binds=["/home/ada/link:/d"]),
    "double slash": host(Binds=["//etc:/d"]),
    "shared propagation": host(Binds=["/srv/data:/d:rshared"]),
    "relabelled": host(Binds=["/srv/data:/d:Z"]),
    "relabelled for all": host(Binds=["/srv/data:/d:z"]),
    "relabelled and read only": host(Binds=["/srv/data:/d:ro,z"]),
    "a path's content not copied": host(Binds=["/srv/data:/d:nocopy"]),
    "two propagations": host(Binds=["/srv/data:/d:private,rslave"]),
    "stopped in an hour": server(StopTimeout=3600),
    "never stopped": server(StopTimeout=-1),
    "half a bind": host(Binds=["/etc"]),
    "foreign volume by a bind": host(Binds=["kit-of-another:/d"]),
    "another kit's volume": host(Binds=["old-hub-data:/d"]),
    "the hub's own volume": host(Binds=["kit_hub-data:/d"]),
    "a volume of any name": host(Binds=["secrets:/d"]),
    "writing where only reading is allowed": host(Binds=["/srv/manual:/d"]),
    "writing by a mode": host(Binds=["/srv/manual:/d:rw"]),
    "writing by a mount": mount(Type="bind", Source="/srv/manual"),
    "writing to what the host mounts later": host(Binds=["/srv/manual:/d:ro,rslave"]),
    "writing to what the host mounts later, by a mount": mount(
        Type="bind", Source="/srv/manual", ReadOnly=True, BindOptions={"Propagation": "slave"}
    ),
    "a path for reading that is half private": host(Binds=["/srv/manual:/d:ro,private"]),
    "a network by the way to another thing": host(NetworkMode="../volumes/kit-home-ada"),
    "a network with a query": host(NetworkMode="kit_users?verbose=1"),
    "below a path for reading": host(Binds=["/srv/manual/link:/d:ro"]),
    "a volume without labels that begins with a user's text": host(Binds=["postgres-work:/d"]),
    "such a volume by a mount": mount(Source="postgres-work"),
    "bind by a mount": mount(Type="bind", Source="/"),
    "bind without a source": mount(Type="bind", Source=None),
    "bind that makes its source": mount(Type="bind", Source="/srv/data", BindOptions={"CreateMountpoint": True}),
    "bind, not recursive": mount(Type="bind", Source="/srv/data", BindOptions={"NonRecursive": True}),
    "bind that is shared": mount(Type="bind", Source="/srv/data", BindOptions={"Propagation": "rshared"}),
    "bind in disguise": mount(VolumeOptions={"DriverConfig": AS_BIND}),
    "anonymous bind in disguise": mount(Source=None, VolumeOptions={"DriverConfig": AS_BIND}),
    "network file system": mount(
        VolumeOptions={"DriverConfig": {"Name": "local", "Options": {"type": "nfs", "device": ":/"}}}
    ),
    "driver of a volume": mount(VolumeOptions={"DriverConfig": {"Name": "vieux/sshfs"}}),
    "subpath": mount(VolumeOptions={"Subpath": "../../etc"}),
    "labels of a volume": mount(VolumeOptions={"Labels": {"com.docker.compose.project": "x"}}),
    "foreign volume by a mount": mount(Source="kit-of-another"),
    "an image as a mount": mount(Type="image", Source="x"),
    "a pipe": mount(Type="npipe", Source="x"),
    "options of another type": mount(BindOptions={"Propagation": "private"}),
    "memory with a source": mount(Type="tmpfs", Source="/etc"),
    "consistency": mount(Consistency="cached"),
    "another image": server(Image="alpine"),
    "another tag": server(Image="kit-singleuser:latest"),
    "an image by its id": server(Image="sha256:" + "0" * 64),
    "a digest of one's own": server(Image=f"{IMAGE}@sha256:{'0' * 64}"),
    "an image like a profile's": server(Image="quay.io/jupyter/x:1/../../evil:1"),
    "an image with a line break": server(Image=f"{IMAGE}\nx"),
    "somebody else's instance": server(Labels={"dockyard.instance": "other"}),
    "labels for a proxy": server(Labels={"traefik.enable": "true"}),
    "a label without end": server(Labels={**LABELS, "dockyard.x": "x" * 4097}),
    "a name of a label without end": server(Labels={**LABELS, f"dockyard.{'x' * 33}": ""}),
    "labels without end": server(Labels={f"dockyard.{'x' * count}": "" for count in range(1, 18)}),
    "labels of compose": server(Labels={"com.docker.compose.project": "kit", "com.docker.compose.service": "hub"}),
    "a helper that is a server": server(Labels={"dockyard.helper": "kit"}),
    "a helper's other script": helping(Entrypoint=["sh", "-c", "cat /proc/1/environ", *HELP[3:]]),
    "a helper's other target": helping(Entrypoint=[*HELP[:5], "/etc", ""]),
    "a helper's volume where programs are": helping(
        Entrypoint=[*HELP[:5], "/usr/local/sbin", ""], HostConfig__Mounts=[{**HELPS, "Target": "/usr/local/sbin"}]
    ),
    "a helper's owner": helping(Entrypoint=[*HELP[:4], "0 /etc/shadow", *HELP[5:]]),
    **{f"a helper's user {user}": helping(User=user) for user in ("00", "0", "00:00", "root", "0:00", "1000", "")},
    "a helper's working directory": helping(WorkingDir="/proc/self/fd/8"),
    "a helper's command": helping(Cmd=["x"]),
    "a helper's capability": helping(HostConfig__CapAdd=["SYS_ADMIN"]),
    "a helper's network": helping(HostConfig__NetworkMode="kit_users"),
    "a helper's bind": helping(HostConfig__Binds=["/:/host"]),
    "a helper's volume": helping(HostConfig__Mounts=[{**HELPS, "Source": "kit_hub-data"}]),
    "a helper's two volumes": helping(HostConfig__Mounts=[HELPS, {**HELPS, "Source": "kit-x"}]),
    "a helper of both kinds": helping(Labels={"dockyard.helper": "kit", "dockyard.instance": "kit"}),
    "an open input": server(OpenStdin=True),
    "a health check": server(Healthcheck={"Test": ["CMD", "x"]}),
    "a health check after none": server(Healthcheck={"Test": ["NONE", "x"]}),
    "a health check by a shell": server(Healthcheck={"Test": ["CMD-SHELL", "NONE"]}),
    "the image's health check more often": server(Healthcheck={"Test": [], "Interval": 10**6}),
    "no health check, often": server(Healthcheck={"Test": ["NONE"], "Interval": 10**6}),
    "no health check in another case": server(Healthcheck={"test": ["NONE"]}),
    "a helper's health check": helping(Healthcheck={"Test": ["CMD", "x"]}),
    "GPUs by the environment": server(Env=["NVIDIA_VISIBLE_DEVICES=all"]),
    "GPUs by CDI's names": server(Env=["A=1", "NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=all"]),
    "another variable of the GPUs' runtime": server(Env=["NVIDIA_DRIVER_CAPABILITIES=all"]),
    "no GPUs after all": server(Env=["NVIDIA_VISIBLE_DEVICES=void", "NVIDIA_VISIBLE_DEVICES=0"]),
    "GPUs that are almost void": server(Env=["NVIDIA_VISIBLE_DEVICES=void "]),
    "an address": server(MacAddress="02:42:ac:11:00:02"),
    "a name that others may look for": server(Hostname="hub"),
    "a helper's environment": helping(Env=["PATH=/home/jovyan"]),
    "wrong case above": {**server(), "hostconfig": {"Privileged": True}},
    "wrong case below": host(privileged=True),
    "wrong type": host(PidsLimit="1024"),
    "wrong type of a truth": host(Init=1),
    "an unknown field": {**server(), "Surprise": 1},
    "no host configuration": {"Image": IMAGE, "Labels": LABELS},
}


@pytest.mark.parametrize("body", [*BODIES.values(), *BY_PLACE.values()], ids=[*BODIES, *BY_PLACE])
async def test_a_container_with(gate: Gate, body: Any) -> None:
    status, said = await gate.send("POST", CREATE, body)
    # What is somebody else's is not there.
    assert status in (403, 404), said
    assert said["message"]
    assert not gate.engine.orders
    assert [note["gate"] for note in gate.notes()] == ["refused"]


@pytest.mark.parametrize(
    "place", ["/dev/shm", "/dev/shm/", "/dev/shm/x", "/device", "/process", "/system", "/home/dev"]
)
def test_a_mount_beside_the_kernels_places_is_allowed(place: str) -> None:
    body = mount(Target=place)
    body["HostConfig"]["Tmpfs"] = {place: "size=1m"}
    body |= {"Volumes": {place: {}}, "WorkingDir": place}
    assert checks.container(ALLOWED, body).body["WorkingDir"] == place


@pytest.mark.parametrize("seconds", [0, 10, 600])
def test_a_stop_timeout_of_up_to_ten_minutes_is_allowed(seconds: int) -> None:
    assert checks.container(ALLOWED, server(StopTimeout=seconds)).body["StopTimeout"] == seconds


@pytest.mark.parametrize("asked", [{"Count": -1}, {"Count": 1}, {"DeviceIDs": ["GPU-12ab", "0"], "Driver": ""}])
def test_gpus_where_settings_give_them(asked: Any) -> None:
    devices = [{"Capabilities": [["gpu"]], "Options": {}, **asked}]
    order = checks.container(replace(ALLOWED, gpus=True), host(DeviceRequests=devices))
    assert order.body["HostConfig"]["DeviceRequests"] == devices


SERVICES_BY_PLACE: dict[str, Any] = {
    **{
        f"a mount at {place}": task(Mounts=[{"Target": place, "Source": "kit-x", "Type": "volume"}])
        for place in KERNELS_PLACES
    },
    **{f"a working directory at {place}": task(Dir=place) for place in KERNELS_PLACES},
}
SERVICES: dict[str, Any] = {
    "a secret at /proc": task(
        Secrets=[{"SecretID": SECRET, "SecretName": "x", "File": {"Name": "/proc/self/attr/exec"}}]
    ),
    "a secret above its folder": task(Secrets=[{"SecretID": SECRET, "SecretName": "x", "File": {"Name": "../../etc"}}]),
    "stopped in an hour": task(StopGracePeriod=3600 * 10**9),
    "health check": task(Healthcheck={"Test": ["CMD", "x"]}),
    "capability": task(CapabilityAdd=["SYS_ADMIN"]),
    "capabilities kept": task(CapabilityDrop=[]),
    "new privileges": task(Privileges={"NoNewPrivileges": False}),
    "no seccomp": task(Privileges={"NoNewPrivileges": True, "Seccomp": {"Mode": "unconfined"}}),
    "credentials": task(Privileges={"NoNewPrivileges": True, "CredentialSpec": {"File": "x"}}),
    "kernel setting": task(Sysctls={"net.ipv4.ip_forward": "1"}),
    "limits of the kernel": task(Ulimits=[{"Name": "memlock", "Soft": -1, "Hard": -1}]),
    "real-time priority": task(Ulimits=[{"Name": "rtprio", "Soft": 99, "Hard": 99}]),
    "GPUs by the environment": task(Env=["NVIDIA_VISIBLE_DEVICES=all"]),
    "a log without options": service(TaskTemplate__LogDriver={"Name": "json-file"}),
    "a log without end": service(TaskTemplate__LogDriver={"Name": "json-file", "Options": {"max-size": "0"}}),
    "spared when memory runs out": task(OomScoreAdj=-1000),
    "bind": task(Mounts=[{"Target": "/h", "Source": "/", "Type": "bind"}]),
    "bind in disguise": task(
        Mounts=[{"Target": "/h", "Source": "kit-x", "Type": "volume", "VolumeOptions": {"DriverConfig": AS_BIND}}]
    ),
    # A node fills in what is written so.
    "bind by a template": task(Mounts=[{"Target": "/h", "Source": TEMPLATE, "Type": "bind"}]),
    "target by a template": task(Mounts=[{"Target": "/{{.Node.ID}}", "Source": "kit-x", "Type": "volume"}]),
    "environment by a template": task(Env=['X={{printf "%1000000000d" 1}}']),
    "a name that others may look for": task(Hostname="hub"),
    "GPUs that no setting gives": service(
        TaskTemplate__Resources__Reservations={
            "GenericResources": [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 1}}]
        }
    ),
    "the engine's socket": task(Mounts=[{"Target": "/s", "Source": "/var/run/docker.sock", "Type": "bind"}]),
    "foreign secret": task(Secrets=[{"SecretID": FOREIGN_SECRET, "SecretName": "x", "File": {"Name": "x"}}]),
    "configs": task(Configs=[{"ConfigID": "x", "ConfigName": "x"}]),
    "image": task(Image="alpine"),
    "isolation": task(Isolation="process"),
    "host's network": service(TaskTemplate__Networks=[{"Target": "host"}]),
    "foreign network": service(TaskTemplate__Networks=[{"Target": "kit-of-another"}]),
    "no network": service(TaskTemplate__Networks=[]),
    "alias on a network": service(TaskTemplate__Networks=[{"Target": "kit_users", "Aliases": ["hub"]}]),
    "search domain": task(DNSConfig={"Nameservers": ["10.0.0.2"], "Search": ["example.org"]}),
    "ports": service(EndpointSpec={"Mode": "dnsrr", "Ports": [{"TargetPort": 8888, "PublishMode": "host"}]}),
    "plugin": service(TaskTemplate__Runtime="plugin"),
    "plugin's spec": service(TaskTemplate__PluginSpec={"Remote": "x"}),
    "on every node": service(Mode={"Global": {}}),
    "started again": service(TaskTemplate__RestartPolicy={"Condition": "any"}),
    "log driver": service(TaskTemplate__LogDriver={"Name": "fluentd"}),
    "name": service(Name="other"),
    "labels": service(Labels={"com.docker.stack.namespace": "kit"}),
}


@pytest.mark.parametrize("body", [*SERVICES.values(), *SERVICES_BY_PLACE.values()], ids=[*SERVICES, *SERVICES_BY_PLACE])
async def test_a_service_with(gate: Gate, body: Any) -> None:
    status, _ = await gate.send("POST", "/v1.45/services/create", body)
    assert status in (403, 404)
    assert not gate.engine.orders


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (host(Privileged=True), "HostConfig.Privileged is not for users' servers."),
        (host(Binds=["/srv/x:/x"]), "Path /srv/x of the host is not among BIND_PATHS: add it there."),
        (host(Binds=["/srv/manual:/x"]), "BIND_PATHS allows path /srv/manual of the host read-only: mount it"),
        (host(Binds=["/srv/data:/proc"]), "must not be /, nor in /proc, /sys or /dev"),
        (host(PidMode="host"), "HostConfig.PidMode is not among what a hub may ask for."),
    ],
)
async def test_a_refusal_is_explained_in_the_log_and_not_to_users(gate: Gate, body: Any, why: str) -> None:
    _, said = await gate.send("POST", CREATE, body)
    (note,) = gate.notes()
    assert why in note["why"]
    assert "Ask an administrator" in said["message"]
    assert note["reference"] in said["message"]
    for internal in ("HostConfig", "Privileged", "ENGINE_ACCESS", "BIND_PATHS", "/srv"):
        assert internal not in said["message"]
    assert "ENGINE_ACCESS" not in note["why"]


@pytest.mark.parametrize(
    "body",
    [
        host(Binds=["/srv/manual:/d:ro"]),
        host(Binds=["/srv/manual:/d:ro,rprivate"]),
        mount(Type="bind", Source="/srv/manual", ReadOnly=True),
        host(Binds=["/srv/data:/d:ro"]),
        host(Binds=["ada-work:/d"]),
        host(Binds=["new-work:/d"]),
    ],
)
async def test_a_container_with_what_the_settings_allow_is_made(gate: Gate, body: Any) -> None:
    status, said = await gate.send("POST", CREATE, body)
    assert status == 201, said
