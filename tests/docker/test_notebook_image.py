"""The kit's notebook image: what makes its start quick is in force, and takes nothing from its users."""

from __future__ import annotations

import io
import json
import re
import secrets
import tarfile
from collections.abc import Iterator
from typing import Any

import docker
import pytest
import requests
from websockets.sync.client import connect

from support.engine import marked
from support.jupyterhub import Hub
from support.notebook import notebook_image
from support.user import User
from support.wait import wait_until
from support.wheel import wheel

pytestmark = pytest.mark.needs("engine")

# Python prints what it imports.
SETTINGS = """
c.DockerSpawner.image = "{image}"
c.DockerSpawner.ready_check = "jupyterhub"
c.DockerSpawner.prefix = c.DockerSpawner.instance = "{instance}"
c.DockerSpawner.network_name = "{network}"
c.DockerSpawner.notebook_dir = "/home/jovyan"
c.DockerSpawner.volumes = {{"{instance}-home-{{username}}": "/home/jovyan"}}
c.DockerSpawner.environment = {{"PYTHONPROFILEIMPORTTIME": "1"}}
c.DockerSpawner.remove = True
"""

# Prints modules of Python code whose byte code is missing or of another source.
STALE = """
import importlib.util, os, sys, sysconfig
folders = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")]
names = [name.replace(".", "/") for name in sys.argv[1].split()]
for file in (f"{folder}/{name}{end}.py" for folder in folders for name in names for end in ("", "/__init__")):
    if os.path.exists(file):
        code = importlib.util.cache_from_source(file)
        head = open(code, "rb").read(16) if os.path.exists(code) else bytes(16)
        if int.from_bytes(head[8:12], "little") != int(os.stat(file).st_mtime):
            print(file)
"""

# Prints the formats that are named in the schemas of what the server is made of.
FORMATS = r"""
import pathlib, re, sys, sysconfig
packages = pathlib.Path(sysconfig.get_path("purelib"))
patterns = ["jupyter*", "nbformat", "jsonschema_specifications"]
folders = [folder for pattern in patterns for folder in packages.glob(pattern)]
folders.append(pathlib.Path(sys.prefix, "share/jupyter/lab/schemas"))
for file in (file for folder in folders for file in folder.rglob("*")):
    if file.suffix in (".json", ".yaml", ".yml") or "metaschemas" in file.parts:
        print(*re.findall("\\bformat[\"']?\\s*:\\s*[\"']?([a-z-]+)", file.read_text(errors="replace")))
"""


@pytest.fixture(scope="module")
def instance(client: docker.DockerClient) -> Iterator[str]:
    with marked(client) as name:
        yield name


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, instance: str, network: str, gateway: str) -> Iterator[Hub]:
    settings = SETTINGS.format(image=notebook_image(), instance=instance, network=network)
    hub = Hub(tmp_path_factory.mktemp("hub"), settings, address=gateway)
    with hub:
        yield hub


@pytest.fixture(scope="module")
def ann(hub: Hub) -> User:
    return User(hub.url, "ann", "any").sign_in().started()


@pytest.fixture
def container(ann: User, client: Any, instance: str) -> Any:
    return client.containers.get(f"{instance}-{ann.name}")


def run(container: Any, *command: str) -> str:
    done = container.exec_run(list(command), environment={"PYTHONPROFILEIMPORTTIME": ""})
    assert done.exit_code == 0, done.output.decode()
    return str(done.output.decode())


def imported(container: Any) -> set[str]:
    return set(re.findall(r"^import time: .*\| +([\w.]+)$", container.logs().decode(), re.MULTILINE))


def loaded(container: Any) -> set[str]:
    return set(re.findall(r"(\w+) \| extension was successfully loaded", container.logs().decode()))


def test_what_the_server_does_without_is_not_loaded(container: Any) -> None:
    packages = {name.split(".")[0] for name in imported(container)}
    assert {"jupyterhub", "jupyterlab", "jsonschema"} <= packages
    # The first two are what the optional checkers load.
    assert not packages & {"lark", "arrow", "urllib3", "IPython"}
    ours = {"dockyard_activity", "dockyard_cookies", "dockyard_log", "dockyard_memory", "jupyterhub"}
    assert loaded(container) == {*ours, "jupyterlab", "jupyter_lsp", "jupyter_server_terminals", "notebook"}


def test_requests_that_fail_leave_no_secret_in_the_log(ann: User, hub: Hub, container: Any) -> None:
    secret = secrets.token_urlsafe(24)
    query = "&".join(f"{name}={secret}" for name in ("_xsrf", "code", "state", "access_token"))
    address = f"{hub.url}/user/{ann.name}/%s?{query}&next=%%2Fx%%3Ftoken%%3D{secret}"
    headers = {"Cookie": f"_xsrf={secret}", "X-XSRFToken": secret, "Authorization": f"Bearer {secret}"}
    for method, page in [("POST", "api/contents"), ("DELETE", "api/sessions/x"), ("GET", "oauth_callback")]:
        answer = requests.request(method, address % page, headers=headers, allow_redirects=False, timeout=30)
        assert answer.status_code == 403
    wait_until(lambda: b"oauth state argument" in container.logs(), timeout=10)
    log = container.logs().decode()
    assert "403 POST /user/ann/api/contents?_xsrf=[secret]" in log
    assert [line for line in log.splitlines() if secret in line] == []


def test_no_schema_has_a_format_that_is_not_checked(container: Any) -> None:
    formats = set(run(container, "python3", "-c", FORMATS).split())
    assert {"uri", "date-time"} <= formats
    assert not formats & {"iri", "iri-reference", "duration"}


def test_all_byte_code_is_there(container: Any) -> None:
    names = imported(container)
    assert {"asyncio.events", "jupyterlab.labapp"} <= names
    assert run(container, "python3", "-c", STALE, " ".join(names)) == ""


def test_the_classic_interface_is_served(ann: User, container: Any) -> None:
    """hub/config.d/README.md has /tree as its example of a default_url."""
    answer = ann.server("GET", "/tree")
    assert (answer.status_code, "Jupyter Notebook" in answer.text or "/static/notebook/" in answer.text) == (200, True)


def test_what_is_installed_is_whole(ann: User, container: Any) -> None:
    assert run(container, "pip", "check") == "No broken requirements found.\n"
    with ann.kernel() as kernel:
        found = "import importlib.util as u; print([bool(u.find_spec(n)) for n in ('rfc3987_syntax', 'isoduration')])"
        assert "[True, True]\n" in kernel.run(found)


def test_a_terminal(ann: User) -> None:
    answer = ann.server("POST", "/api/terminals", json={})
    assert answer.status_code == 200, answer.text
    name = answer.json()["name"]
    cookies = "; ".join(f"{c.name}={c.value}" for c in ann.session.cookies)
    url = f"ws{ann.hub.removeprefix('http')}/user/{ann.path}/terminals/websocket/{name}"
    with connect(url, additional_headers={"Cookie": cookies}, origin=ann.hub) as socket:  # type: ignore[arg-type]
        socket.send(json.dumps(["stdin", "pip --version >/dev/null && echo $((6 * 7))-answered\r"]))
        shown = ""
        while "42-answered" not in shown:
            kind, *content = json.loads(socket.recv(timeout=20))
            shown += content[0] if kind == "stdout" else ""
    assert ann.server("DELETE", f"/api/terminals/{name}").status_code == 204


@pytest.mark.parametrize("shell", ["bash -l", "sh -l", "{ bash -lc true; bash -l; }"])
@pytest.mark.parametrize("path", ["", "/srv/mine/bin:"])
def test_a_login_shell_keeps_the_path(container: Any, shell: str, path: str) -> None:
    (given,) = [entry[5:] for entry in container.attrs["Config"]["Env"] if entry.startswith("PATH=")]
    assert given.startswith("/opt/notebook/bin:")
    assert run(container, "sh", "-c", f"PATH={path}$PATH; echo 'echo $PATH' | {shell}") == f"{path}{given}\n"


def test_a_shell_without_the_containers_path_finds_pip(container: Any) -> None:
    found = run(container, "env", "-i", "HOME=/home/jovyan", "bash", "-lc", "command -v pip")
    assert found == "/opt/notebook/bin/pip\n"


MAKE_ENVIRONMENT = {
    "venv": "python -m venv /tmp/v",
    "with system packages": "python3 -m venv --system-site-packages /tmp/v",
}


@pytest.mark.parametrize("make", MAKE_ENVIRONMENT.values(), ids=MAKE_ENVIRONMENT)
def test_pip_installs_into_an_environment_of_the_users(container: Any, make: str) -> None:
    put(container, "mine-1-py3-none-any.whl", wheel())
    install = "/tmp/v/bin/pip install --no-index --no-deps ~/mine-1-py3-none-any.whl"
    show = "/tmp/v/bin/pip show mine | grep Location; rm -r /tmp/v"
    assert "Location: /tmp/v/lib/python3" in run(container, "bash", "-c", f"{make} && {install} && {show}")


ENABLED = b'{"ServerApp": {"jpserver_extensions": {"notebook_shim": true}}}'


def put(container: Any, name: str, content: bytes) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.uid, entry.gid, entry.mode = len(content), 1000, 100, 0o644
        tar.addfile(entry, io.BytesIO(content))
    assert container.put_archive("/home/jovyan", archive.getvalue())


def test_what_a_user_adds_is_there_and_keeps_nothing_from_starting(
    ann: User, container: Any, client: Any, instance: str
) -> None:
    """An extension by pip, one of the server's that is off and switched on again, and a file named as a module."""
    put(container, "mine-1-py3-none-any.whl", wheel())
    put(container, "tornado.py", b"raise SystemExit('the wrong one')\n")
    run(container, "pip", "install", "--no-index", "--no-deps", "mine-1-py3-none-any.whl")
    assert "Location: /home/jovyan/.local/lib/python3" in run(container, "python3", "-m", "pip", "show", "mine")
    run(container, "mkdir", "-p", "/home/jovyan/.jupyter/jupyter_server_config.d")
    put(container, ".jupyter/jupyter_server_config.d/notebook_shim.json", ENABLED)
    ann.stop()
    ann.started()
    page = ann.server("GET", "/lab").text
    config = re.search(r'<script id="jupyter-config-data"[^>]*>\s*(.*?)\s*</script>', page, re.DOTALL)
    assert config
    assert "mine" in [extension["name"] for extension in json.loads(config[1])["federated_extensions"]]
    assert "notebook_shim" in loaded(client.containers.get(f"{instance}-{ann.name}"))
