"""`make doctor`: every problem with its mend, all at once, and nothing is changed."""

from __future__ import annotations

import io
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from support.kit import Kit
from support.tiny import tiny_image


def looks(kit: Kit, **environ: str) -> tuple[int, str]:
    """How `make doctor` ended and what it said; it changes nothing."""

    def state() -> object:
        return kit.containers(), kit.leftovers(), kit.env_file.read_bytes() if kit.env_file.exists() else None

    before = state()
    done = kit.make("doctor", check=False, env=environ)
    assert state() == before
    return done.returncode, done.stdout


def test_a_healthy_kit_has_nothing_to_mend(up: Kit) -> None:
    code, said = looks(up)
    assert code == 0, said
    assert "Nothing to fix" in said
    assert "  - " not in said


def test_a_fresh_clone(another: Kit) -> None:
    code, said = looks(another)
    assert code != 0
    assert "There is no .env: 'make up' makes one" in said


def test_no_engine_answers(up: Kit) -> None:
    code, said = looks(up, DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert code != 0
    assert "No Docker engine answers" in said
    assert "'make engine' starts or installs one" in said


@pytest.fixture
def shims(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Programs that answer otherwise than this machine's: what they print where a part of their arguments is given."""

    def make(program: str, arguments: str, printed: str) -> dict[str, str]:
        real = shutil.which(program)
        (tmp_path / program).write_text(
            f'#!/bin/sh\ncase "$*" in *"{arguments}"*) echo "{printed}" ;; *) exec {real} "$@" ;; esac\n'
        )
        (tmp_path / program).chmod(0o755)
        return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    return make


@pytest.mark.parametrize(
    ("program", "arguments", "printed", "said"),
    [
        ("docker", "version --format", "20.10.24", "The engine is 20.10.24, 25.0 or newer is needed"),
        ("docker", "compose version", "2.10.0", "docker compose is 2.10.0, 2.20.2 or newer is needed"),
        ("docker", "range .Server.Components", "1.2.7", "runc is 1.2.7, and 1.2.8 is the first version that fixes"),
        ("df", "--output=avail", "120", "where 120 MB are free"),
        ("date", "+%s", "1000", "The clock says"),
    ],
)
def test_a_machine_that_is_not_fit(
    up: Kit, shims: Callable[..., dict[str, str]], program: str, arguments: str, printed: str, said: str
) -> None:
    code, told = looks(up, **shims(program, arguments, printed))
    assert (code != 0, said in told) == (True, True), told


@pytest.fixture
def sheet(up: Kit) -> Iterator[Kit]:
    """The kit, for a test that writes into .env and starts nothing."""
    kept, mode = up.env_file.read_text(), up.env_file.stat().st_mode
    yield up
    up.env_file.write_text(kept)
    up.env_file.chmod(mode)


def test_all_that_is_wrong_with_the_sheet(sheet: Kit, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("ab" * 32)
    secret.chmod(0o644)
    sheet.write_env(
        COOKIE_SECRET=None, COOKIE_SECRET_FILE=str(secret), MEM_LIMTI="1G", NAMED_SERVERS="yes",
        PUBLIC_URL="http://nowhere.invalid", BIND_ADDR="0.0.0.0", ENGINE_ACCESS="socket",
    )  # fmt: skip
    sheet.env_file.chmod(0o644)
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        sheet.write_env(PORT=str(port))
        code, said = looks(sheet)
    assert code != 0
    for sentence in (
        ".env is readable by others, and it holds secrets: chmod 600 .env",
        f"COOKIE_SECRET_FILE: {secret} is readable by others",
        "MEM_LIMTI is not a setting; did you mean MEM_LIMIT?",
        "NAMED_SERVERS must be true or false",
        f"PORT {port} on 0.0.0.0 is taken by another program",
        "PUBLIC_URL: the name nowhere.invalid is not known to DNS here",
        "AUTH=password on 0.0.0.0, which other machines reach",
        "ENGINE_ACCESS=socket switches the gate off",
        "to fix",
    ):
        assert sentence in said


def test_limits_that_this_machine_ignores(sheet: Kit, shims: Callable[..., dict[str, str]]) -> None:
    """A kernel without CPU limits and swap accounting, then a machine with one core: hints, since all runs."""
    sheet.write_env(CPU_LIMIT="1.5")
    code, said = looks(sheet, **shims("docker", ".CPUCfsQuota", "swap cpu"))
    assert (code, "CPU_LIMIT has no effect" in said, "swapaccount=1" in said) == (0, True, True), said
    code, said = looks(sheet, **shims("docker", "{{.NCPU}}", "1"))
    assert (code, "CPU_LIMIT=1.5 has no effect: this machine has 1 core\n" in said) == (0, True), said


# Answers as JupyterHub's single-user server of an old version does.
OLD = """
FROM {tiny}
RUN printf '#!/bin/sh\\necho 4.1.6\\n' >/bin/jupyterhub-singleuser && chmod +x /bin/jupyterhub-singleuser
RUN printf 'HTTP/1.0 200 OK\\r\\nX-JupyterHub-Version: 4.1.6\\r\\n\\r\\n' >/answer
CMD ["sh", "-c", "while :; do nc -l -p 8888 </answer >/dev/null; done"]
"""


@pytest.fixture
def built(sheet: Kit) -> Iterator[Callable[[str, str], str]]:
    """Builds an image of a text; it goes with the test."""
    client, tags = docker.from_env(), []

    def build(name: str, recipe: str) -> str:
        tags.append(f"{sheet.project}-{name}:1")
        client.images.build(fileobj=io.BytesIO(recipe.encode()), tag=tags[-1], rm=True)
        return tags[-1]

    yield build
    for tag in tags:
        client.images.remove(tag)
    client.close()


def test_notebook_images_that_will_not_do(sheet: Kit, built: Callable[[str, str], str]) -> None:
    sheet.write_env(NOTEBOOK_IMAGE=tiny_image())
    assert "has no jupyterhub-singleuser" in looks(sheet)[1]
    sheet.write_env(NOTEBOOK_IMAGE="registry.invalid/notebook:1")
    code, said = looks(sheet)
    assert (code, "is not on this engine" in said) == (0, True), said
    sheet.write_env(NOTEBOOK_IMAGE=built("old", OLD.format(tiny=tiny_image())))
    code, said = looks(sheet)
    assert (code, "has JupyterHub 4.1.6, the hub has 6." in said) == (0, True), said


def test_each_notebook_image_of_the_settings_is_started_once(
    sheet: Kit, built: Callable[[str, str], str], tmp_path: Path
) -> None:
    ours = f"FROM {sheet.project}-singleuser:0.1.0\n"
    lab = built("lab", f'{ours}CMD ["jupyter", "lab"]\n')
    ends = built("ends", f'{ours}CMD ["sh", "-c", "echo no such thing; exit 3"]\n')
    home = "USER root\nRUN install --directory --owner jovyan /opt/elsewhere\nUSER jovyan\n"
    elsewhere = built("elsewhere", f"{ours}{home}ENV HOME=/opt/elsewhere\n")
    profiles = tmp_path / "profiles.yaml"
    profiles.write_text(
        f"- display_name: Fine\n  docker_override: {{image: '{ends}', cmd: [jupyterhub-singleuser]}}\n"
        f"- display_name: Ends\n  docker_override: {{image: '{ends}'}}\n"
    )
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    sheet.write_env(ALLOWED_IMAGES=f"{lab},{elsewhere}", PROFILES_FILE=str(profiles))
    code, said = looks(sheet)
    assert code != 0
    found = sorted(line for line in said.splitlines() if line.startswith("  - "))
    assert len(found) == 3, said
    assert f"HOME is /opt/elsewhere in the image {elsewhere}" in found[0]
    assert "write HOME_PATH=/opt/elsewhere" in found[0]
    assert f"a server of the image {lab} answers with status 404, but it is not JupyterHub's" in found[1]
    assert f"PROFILES_FILE: a server of the image {ends} ended with exit code 3: no such thing" in found[2]


def test_a_resolver_that_users_servers_do_not_reach(sheet: Kit, shims: Callable[..., dict[str, str]]) -> None:
    """As in clouds whose resolver is where their credentials are."""
    resolvers = docker.from_env().containers.run(
        f"{sheet.project}-hub:0.1.0",
        ["cat", "/etc/resolv.conf"],
        network=f"{sheet.project}_users",
        dns=["169.254.169.254"],
        remove=True,
    )
    in_a_cloud = shims("docker", "/etc/resolv.conf", resolvers.decode())
    code, said = looks(sheet, **in_a_cloud)
    assert (code != 0, "The resolver of this engine is 169.254.169.254, a link-local address" in said) == (
        True,
        True,
    ), said
    sheet.write_env(USER_DNS="10.0.0.2")
    code, said = looks(sheet, **in_a_cloud)
    assert (code, "The resolver" in said) == (0, False), said


def test_a_hub_that_users_servers_do_not_reach(up: Kit) -> None:
    network = docker.from_env().networks.get(f"{up.project}_users")
    hub = up.container("hub")
    network.disconnect(hub)
    try:
        code, said = looks(up)
        assert (code != 0, "does not reach the hub at http://hub:8081" in said) == (True, True), said
    finally:
        network.connect(hub, aliases=["hub"])


def test_a_service_that_has_ended(up: Kit) -> None:
    up.compose("stop", "proxy")
    try:
        code, said = looks(up)
        assert (code != 0, "The service proxy is exited: 'docker compose logs proxy' shows why" in said) == (True, True)
    finally:
        up.compose("start", "proxy")
