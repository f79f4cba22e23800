from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traitlets import TraitError

from dockerspawner._settings.naming import DNS_LABEL, dns_escape, fit, legacy_escape
from support.spawners import make_spawner

# The second makes names that come near to each other's escaped forms.
names = st.text(min_size=1, max_size=300) | st.text("aA-24dx.", min_size=1, max_size=90)


@given(names, names)
def test_different_names_never_become_the_same(one: str, other: str) -> None:
    assert (dns_escape(one) == dns_escape(other)) is (one == other)


@given(names)
def test_escaped_names_are_made_of_what_dns_allows(name: str) -> None:
    assert re.fullmatch(r"(?:[a-z0-9]|-[0-9a-f]{2})+", dns_escape(name))


@given(names, names)
def test_container_names_fit_and_stay_different(one: str, other: str) -> None:
    fitted = [fit(f"jupyter-{dns_escape(name)}", DNS_LABEL) for name in (one, other)]
    assert all(len(name) <= DNS_LABEL for name in fitted)
    assert (fitted[0] == fitted[1]) is (one == other)


def test_a_cut_name_cannot_be_taken_by_choosing_a_user_name() -> None:
    cut = fit("jupyter-" + "a" * 200, DNS_LABEL)
    assert "-x" in cut
    assert not re.fullmatch(r"(?:[a-z0-9]|-[0-9a-f]{2})+", cut)


@pytest.mark.parametrize(
    ("name", "escaped"),
    [("ann", "ann"), ("a-b", "a-2db"), ("A.b@c", "-41-2eb-40c"), ("é", "-c3-a9"), ("_", "-5f")],
)
def test_names_are_escaped_as_existing_volumes_are(name: str, escaped: str) -> None:
    assert dns_escape(name) == escaped


def test_legacy_escaping_keeps_capitals_and_hyphens() -> None:
    assert legacy_escape("A-b.c") == "A-b_2Ec"
    assert make_spawner("A-b.c", escape="legacy").object_name == "jupyter-A-b_2Ec"


def test_escape_may_be_any_callable_and_nothing_else() -> None:
    assert make_spawner("ann", escape=str.upper).object_name == "jupyter-ANN"
    with pytest.raises((TraitError, ValueError), match="escape"):
        make_spawner("ann", escape="upper")


def test_default_names_and_placeholders() -> None:
    assert make_spawner("a.b").object_name == "jupyter-a-2eb"
    assert make_spawner("ann", "lab").object_name == "jupyter-ann--lab"
    spawner = make_spawner("A", "lab", prefix="p", image="quay.io/x/y:1")
    rendered = "{prefix} {username} {safe_username} {raw_username} {servername} {raw_servername} {imagename}"
    assert spawner.format_string(rendered) == "p -41 -41 A lab lab quay.io-x-y-1"


def test_the_name_follows_the_image_where_the_template_says_so() -> None:
    spawner = make_spawner("ann", name_template="{username}-{imagename}", image="one")
    assert spawner.object_name == "ann-one"
    spawner.image = "two"
    assert spawner.container_name == "ann-two"


@pytest.mark.parametrize("escape", [dns_escape, "legacy"])
def test_servers_whose_names_differ_by_case_have_different_names(escape: Any) -> None:
    lower, upper, other = (make_spawner("ann", name, escape=escape).object_name for name in ("lab", "Lab", "LAB"))
    assert lower == "jupyter-ann--lab"
    assert upper.startswith("jupyter-ann--lab-x")
    assert len({lower, upper, other}) == 3


def test_case_is_ignored_where_a_name_has_no_server_or_its_raw_name() -> None:
    for template in ("{username}", "{username}-{raw_servername}", "{servername}-{raw_servername}"):
        assert "-x" not in make_spawner("ann", "Lab", name_template=template).object_name
    # Inside a container nothing is shared.
    assert make_spawner("ann", "Lab").format_string("/home/{servername}") == "/home/lab"


def test_names_that_are_cut_differ_by_case_too() -> None:
    names = {make_spawner("ann", name * 60).object_name for name in ("a", "A")}
    assert [len(name) for name in names] == [63, 63]
