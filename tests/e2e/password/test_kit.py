"""What the kit promises beside the browser's path: roles, isolation, a hub that can be replaced, odd names."""

from __future__ import annotations

import json

import pytest

from support.cloud import ADDRESS, metadata_service
from support.kit import Kit
from support.probing import doors_of, opened_by_root, opened_by_user
from support.user import Refused
from support.wait import wait_until

# Of what Linux says of a process.
CONFINED = {"Uid:" + "\t1000" * 4, "CapEff:\t" + "0" * 16, "CapBnd:\t" + "0" * 16, "NoNewPrivs:\t1"}
# The limits that Linux holds the server to, by either version of cgroups: of processes, memory, swap. In version 1 that
# of swap is one of both; a kernel that doesn't count swap has neither.
LIMITS = {
    "pids.max": 1024,
    "memory.max": 2 * 1024**3,
    "memory.swap.max": 0,
    "memory.limit_in_bytes": 2 * 1024**3,
    "memory.memsw.limit_in_bytes": 2 * 1024**3,
}
LOOK = f"""
import glob, json
found = {{}}
for name in {[*LIMITS]}:
    for path in glob.glob("/sys/fs/cgroup/" + name) + glob.glob("/sys/fs/cgroup/*/" + name):
        found[name] = int(open(path).read())
print(json.dumps(found))
"""
TMP = """
import os, resource, subprocess
with open("/tmp/run", "w") as file:
    file.write("#!/bin/sh\\nexit 0\\n")
os.chmod("/tmp/run", 0o755)
room = os.statvfs("/tmp")
executed = subprocess.run(["/tmp/run"]).returncode
score = open("/proc/self/oom_score_adj").read().strip()
print(room.f_blocks * room.f_frsize // 2**20, executed, resource.getrlimit(resource.RLIMIT_NOFILE)[1], score)
"""
# 30 MB into the log of the container.
CHATTER = """
with open("/proc/1/fd/1", "w") as log:
    for _ in range(3000):
        log.write("x" * 9999 + "\\n")
"""


def test_administrators_have_a_password_of_their_own(running: Kit) -> None:
    admin = running.user("admin").sign_in()
    assert admin.model()["admin"] is True
    for name, password in [("admin", "USER_PASSWORD"), ("carol", "ADMIN_PASSWORD")]:
        user = running.user(name)
        user.password = running.setting(password)
        with pytest.raises(Refused, match="Invalid username or password"):
            user.sign_in()
    assert not running.user("carol").sign_in().model()["admin"]


def test_a_recreated_hub_leaves_an_open_websocket_alone(running: Kit) -> None:
    dave = running.user("dave").sign_in().started()
    with dave.kernel() as kernel:
        kernel.run("x = 41")
        hub = running.container("hub").id
        running.compose("up", "--detach", "--wait", "--force-recreate", "--no-deps", "hub")
        assert running.container("hub").id != hub
        assert kernel.run("print(x + 1)") == "42\n"
    assert dave.model()["servers"][""]["ready"]
    dave.stop()
    assert not [server for server in running.servers() if "dave" in server.name]


def test_a_recreated_proxy_gets_its_routes_back(running: Kit) -> None:
    erin = running.user("erin").sign_in().started()
    running.compose("up", "--detach", "--wait", "--force-recreate", "--no-deps", "proxy")
    wait_until(lambda: erin.server("GET", "/api/status").status_code == 200, timeout=15)
    erin.stop()


def test_the_users_server_is_confined(running: Kit) -> None:
    frank = running.user("frank").sign_in().started()
    config = running.server_of("frank").attrs
    host = config["HostConfig"]
    assert (host["CapDrop"], host["SecurityOpt"], host["PidsLimit"]) == (["ALL"], ["no-new-privileges"], 1024)
    assert host["Memory"] == host["MemorySwap"] == 2 * 1024**3
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}
    (open_files,) = host["Ulimits"]
    assert (open_files["Name"], open_files["Hard"] <= 65536) == ("nofile", True)
    assert (config["Config"]["Healthcheck"]["Test"], "Health" in config["State"]) == (["NONE"], False)
    assert set(config["NetworkSettings"]["Networks"]) == {f"{running.project}_users", "link-local.dockyard"}
    secrets = running.secrets()
    assert len(secrets) >= 6
    services = {service: running.container(service) for service in ("hub", "gate", "proxy")}
    for service in services.values():
        own = service.attrs["HostConfig"]
        # Without a weight, a server has 1024.
        assert own["CpuShares"] >= 16 * max(host["CpuShares"], 1024)
        assert own["OomScoreAdj"] < host["OomScoreAdj"]
        assert not own["NanoCpus"]
    doors = doors_of(*services.values())
    assert (services["proxy"].name, 8001) in {(name, port) for (_, port), name in doors.items()}
    with frank.kernel() as kernel:
        assert kernel.run("import os; print(os.path.exists('/var/run/docker.sock'))") == "False\n"
        assert set(kernel.run("print(open('/proc/self/status').read())").splitlines()) >= CONFINED
        # Half of the memory, files that can be executed, open files, OOM score.
        assert kernel.run(TMP) == f"1024 0 {open_files['Hard']} 500\n"
        kernel.run(CHATTER)
        # Two files of 10 MB.
        assert len(running.server_of("frank").logs()) <= 20_000_000
        limits = json.loads(kernel.run(LOOK))
        assert limits.items() <= LIMITS.items()
        assert len(limits.keys() & {"pids.max", "memory.max", "memory.limit_in_bytes"}) == 2
        has = kernel.run("print(dict(os.environ))") + json.dumps(config["Config"])
        assert not [secret for secret in secrets if secret in has]
        opened = opened_by_user(kernel, doors)
        with metadata_service() as port:
            cloud = {(ADDRESS, port): "cloud"}
            # Whoever is not kept from it reaches it.
            assert opened_by_root(running.container("hub"), cloud) == {*cloud}
            assert opened_by_user(kernel, cloud) == set()
            assert opened_by_root(running.server_of("frank"), cloud) == set()
    # The hub and the proxy as users reach it, not its API. The gate has no door.
    assert {(doors[door], door[1]) for door in opened} == {(services["hub"].name, 8081), (services["proxy"].name, 8000)}
    assert opened_by_root(running.server_of("frank"), doors) == opened
    frank.stop()


def test_a_servers_own_token_opens_nothing_of_others(running: Kit) -> None:
    """What a user's code can do with the token that its server has."""
    olga = running.user("olga").sign_in().started()
    running.user("paul").sign_in()
    ask = (
        "import os, urllib.error, urllib.request\n"
        "def ask(method, path):\n"
        "    headers = {'Authorization': 'token ' + os.environ['JUPYTERHUB_API_TOKEN']}\n"
        "    url = os.environ['JUPYTERHUB_API_URL'] + path\n"
        "    try: return urllib.request.urlopen(urllib.request.Request(url, None, headers, method=method)).status\n"
        "    except urllib.error.HTTPError as error: return error.code\n"
    )
    calls = {
        ("GET", "/user"): 200,
        ("POST", "/users/olga/activity"): 400,
        ("GET", "/users"): 403,
        ("GET", "/users/paul"): 404,
        ("POST", "/users/paul/server"): 403,
        ("POST", "/users/mallory"): 403,
        ("POST", "/users/paul/tokens"): 403,
        ("POST", "/users/olga/tokens"): 403,
        ("GET", "/proxy"): 403,
        ("POST", "/shutdown"): 403,
        ("GET", "/groups"): 403,
        ("GET", "/services"): 403,
    }
    with olga.kernel() as kernel:
        kernel.run(ask)
        answers = {call: int(kernel.run(f"print(ask{call})")) for call in calls}
    assert answers == calls
    assert not running.user("paul").sign_in().model()["servers"]
    olga.stop()


def test_the_proxy_has_no_secret_but_its_own(running: Kit) -> None:
    environment = running.container("proxy").exec_run(["cat", "/proc/1/environ"]).output.decode()
    found = [secret for secret in running.secrets() if secret in environment]
    assert found == [running.setting("PROXY_AUTH_TOKEN")]


def test_the_kits_own_are_not_root_and_cannot_write(running: Kit) -> None:
    for service in ("hub", "gate", "proxy"):
        container = running.container(service)
        assert container.exec_run(["id", "-u"]).output == b"1000\n"
        assert container.exec_run(["touch", "/srv/x"]).exit_code != 0
        assert b"CapEff:\t0000000000000000" in container.exec_run(["cat", "/proc/1/status"]).output
    assert b".env" not in running.container("hub").exec_run(["ls", "-a", "/srv/dockyard"]).output


@pytest.mark.parametrize(
    "name", ["ada@example.org", "Ada.Lovelace", "ada.lovelace-2", "a" * 200, "ýáñn-日本", "x_y z"]
)  # fmt: skip
def test_odd_user_names(running: Kit, name: str) -> None:
    user = running.user(name).sign_in()
    user.name = name.lower()
    user.started()
    with user.kernel() as kernel:
        assert kernel.run("open('mine', 'w').write('x'); print('ok')") == "ok\n"
    server = running.server_of(user.name)
    assert len(server.name) <= 63
    user.stop()


def test_a_second_hub_on_the_same_database_waits(running: Kit) -> None:
    with running.second_hub() as second:
        says = f"{running.container('hub').id[:12]} uses it, and only one hub can use a database"
        wait_until(lambda: says in second.logs().decode(), timeout=60, what="the second hub waits")
        running.user("hal").sign_in()
        assert "JupyterHub is now running" not in second.logs().decode()
    running.user("hal").sign_in()


def test_names_that_look_alike_have_homes_of_their_own(running: Kit) -> None:
    names = ["ann.b", "ann-b", "ann_b", "annb"]
    for name in names:
        user = running.user(name).sign_in().started()
        with user.kernel() as kernel:
            printed = kernel.run("import os; print([f for f in os.listdir() if f.startswith('of-')])")
            assert printed == "[]\n", name
            kernel.run(f"open('of-{name}', 'w').close()")
    assert len({server.name for server in running.servers() if "ann" in server.name}) == len(names)
    for name in names:
        running.user(name).sign_in().stop()


def test_pip_installs_into_the_home(running: Kit) -> None:
    """A package of the user's own is there for kernels after a restart, and does not reach the server itself."""
    gina = running.user("gina").sign_in().started()
    with gina.kernel() as kernel:
        kernel.run(
            "import pathlib, site\n"
            "folder = pathlib.Path(site.getusersitepackages()); folder.mkdir(parents=True, exist_ok=True)\n"
            "(folder / 'mine.py').write_text('answer = 42')\n"
            "(folder / 'jupyter_server.py').write_text('raise SystemExit')\n"
        )
    gina.stop()
    gina.started()
    with gina.kernel() as kernel:
        assert kernel.run("import mine; print(mine.answer)") == "42\n"
    gina.stop()
