"""What is said twice is said alike: settings, .env.example, README, compose, versions, requirements."""

from __future__ import annotations

import ast
import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from dockyard.settings import envfile
from support.repo import ROOT

COMPOSE = (ROOT / "compose/compose.yaml").read_text()
ALL = "\n".join(path.read_text() for path in (ROOT / "compose").glob("compose*.yaml"))


def test_the_example_is_what_the_settings_print() -> None:
    assert (ROOT / ".env.example").read_text() == envfile.example(), "run: make settings"


def test_the_readmes_table_is_what_the_settings_print() -> None:
    readme = (ROOT / "hub/README.md").read_text()
    table = readme.split("<!-- settings: begin -->\n")[1].split("<!-- settings: end -->")[0]
    assert table == envfile.table(), "run: make settings"


def test_compose_has_the_settings_own_defaults() -> None:
    defaults = {name: envfile.default(field) for name, field in envfile.fields().items()}
    # What is not the kit's default but stands for "not given".
    stand_for_nothing = {"DOCKER_GID": "0", "PROXY_AUTH_TOKEN": ""}
    used = re.findall(r"\$\{([A-Z_]+):-([^${}]*)\}", ALL)
    assert {name for name, _ in used} >= {"PORT", "BIND_ADDR", "PYTHON_IMAGE", "DOCKER_SOCKET"}
    for name, default in used:
        if default not in {"/dev/null", "/none"}:
            assert default == stand_for_nothing.get(name, defaults.get(name)), name


def test_compose_names_no_variable_that_is_not_a_setting() -> None:
    assert set(re.findall(r"\$\{([A-Z_]+)", ALL)) <= envfile.known_names() | {"EXTRA_CA_FILE"}


def test_every_secret_can_be_a_file() -> None:
    secrets = {name for name, field in envfile.fields().items() if envfile.is_secret(field)}
    services = yaml.safe_load(COMPOSE)["services"]
    assert {f"{name}_FILE" for name in secrets} <= set(services["hub"]["environment"])
    assert {name.lower() for name in secrets} | {"extra_ca"} == set(services["hub"]["secrets"])


def test_one_version() -> None:
    spawner = metadata.version("dockyard-spawner")
    images = re.findall(r"\$\{COMPOSE_PROJECT_NAME\}-(\w+):([^\s}]+)", COMPOSE)
    assert {name for name, _ in images} == {"hub", "proxy", "singleuser"}
    assert {version for _, version in images} == {spawner}
    assert f"## {spawner}" in (ROOT / "CHANGELOG.md").read_text()


def pins(folder: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / folder / "requirements.txt").read_text(), re.MULTILINE))


def test_hub_and_single_user_server_have_one_jupyterhub() -> None:
    hub, singleuser, tests = pins("hub"), pins("singleuser"), pins("tests")
    assert hub["jupyterhub"] == singleuser["jupyterhub"] == tests["jupyterhub"]
    assert f"jupyterhub=={hub['jupyterhub']}\n" in (ROOT / "hub/requirements.in").read_text()


def test_the_logs_of_the_hub_and_of_servers_leave_out_the_same() -> None:
    def code(path: str) -> dict[str, str]:
        body = ast.parse((ROOT / path).read_text()).body
        named = {getattr(node, "name", None) or getattr(node, "targets", [node])[0]: node for node in body}
        return {key if isinstance(key, str) else ast.dump(key): ast.dump(node) for key, node in named.items()}

    hub, server = code("hub/dockyard/hub/logmask.py"), code("singleuser/dockyard_log.py")
    shared = {name for name, node in hub.items() if not node.startswith(("Expr", "Import"))}
    assert {"mask", "Masked"} <= shared
    assert {name: server.get(name) for name in shared} == {name: hub[name] for name in shared}


def test_every_requirement_has_its_hashes() -> None:
    for path in ROOT.glob("*/requirements.txt"):
        blocks = re.split(r"\n(?=\S)", path.read_text().strip())
        assert len(blocks) > 20
        assert not [block for block in blocks if not block.startswith("#") and "--hash=sha256:" not in block]


def test_every_image_of_others_has_its_digest() -> None:
    sources = [ROOT / "hub/dockyard/settings/fields.py", *ROOT.glob("*/Dockerfile"), *(ROOT / "compose").glob("*.yaml")]
    text = "\n".join(path.read_text() for path in sources)
    found = set(re.findall(r"\b(?:python|caddy|postgres):\d[^\s\"}]*", text))
    assert sorted(reference.partition(":")[0] for reference in found) == ["caddy", "postgres", "python"]
    for reference in found:
        assert re.fullmatch(r"\w+:[\w.-]+@sha256:[0-9a-f]{64}", reference), "run: DEFAULTS=1 make pin"


def test_the_spawners_requirements_are_in_the_hubs() -> None:
    required = metadata.requires("dockyard-spawner") or []
    names = {re.split(r"[<>=!~ ;]", requirement)[0] for requirement in required}
    assert names <= set(pins("hub"))


def rows(readme: str) -> list[str]:
    """The last cells of the tables in which a text names the tests that show it."""
    lines = [line for line in (ROOT / readme).read_text().splitlines() if line.startswith("|")]
    return [line.split("|")[-2] for line in lines if ".py" in line.split("|")[-2]]


@pytest.mark.parametrize(("readme", "least"), [("SECURITY.md", 18), ("spawner/README.md", 40)])
def test_every_test_that_a_promise_names_is_there(readme: str, least: int) -> None:
    cells = rows(readme)
    assert len(cells) >= least
    for cell in cells:
        path = Path()
        for named in re.findall(r"`([^`]+)`", cell):
            file, *inside = named.split("::")
            # `test_b.py` is beside the one before it, `::test_c` in it.
            path = (ROOT / "tests" / file if "/" in file else path.with_name(file)) if file else path
            assert path.is_file(), cell
            for one in inside:
                assert re.search(rf"^ *(?:async def|def|class) {one}\b", path.read_text(), re.MULTILINE), cell


def test_every_row_of_the_threat_model_names_a_test() -> None:
    table = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("|")][2:]
    assert table
    assert len(table) == len(rows("SECURITY.md"))
