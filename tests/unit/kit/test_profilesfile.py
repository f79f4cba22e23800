"""Profiles in a file of the operator's: what the spawner gets, and what is said of mistakes, by their lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from dockerspawner._profiles import list as profile_list
from dockyard.settings import profilesfile
from dockyard.settings.sources import Mistakes
from support.repo import ROOT

GOOD = """
- display_name: Small
  default: true
- display_name: Large
  description: For the models.
  groups: [staff]
  docker_override:
    mem_limit: 8G
    environment: {SIZE: large}
  profile_options:
    image:
      choices:
        plain: {display_name: Plain, docker_override: {image: "notebook:1"}}
      unlisted_choice:
        enabled: true
        validation_regex: "[a-z/]+:[0-9]+"
        docker_override: {image: "{value}"}
"""


def test_a_good_file_is_the_spawners_list() -> None:
    assert profilesfile.read(GOOD) == (yaml.safe_load(GOOD), [])


def test_the_readmes_example_is_right() -> None:
    example = (ROOT / "hub/README.md").read_text().split("```yaml\n")[1].split("```")[0]
    profiles, mistakes = profilesfile.read(example)
    assert mistakes == []
    Draft202012Validator(TestSchema.schema).validate(profiles)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[]"])
def test_an_empty_file_has_no_profiles(text: str) -> None:
    assert profilesfile.read(text) == ([], [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "- display_name: A\n  docker_overide: {}\n",
            "line 2: docker_overide is unknown: did you mean docker_override?",
        ),
        ("- display_name: A\n- display_name: A\n", "line 2: display_name is 'A', as that of profile_list[0]"),
        ("- display_name: A\n  docker_override:\n    memlimit: 1G\n", "line 3: memlimit is not a setting of"),
        (
            "- display_name: A\n  docker_override: {mem_limit: lots}\n",
            "line 2: mem_limit must be a number with K, M",
        ),
        ("- display_name: A\n  docker_override: {mem_limit: 8}\n", "line 2: mem_limit is 8 bytes, too little for a"),
        ("- display_name: A\n  docker_override: {mem_limit: 0}\n", "line 2: mem_limit is 0 bytes, too little for a"),
        ("- display_name: A\n  docker_override: {tmp_size: 1M}\n", "line 2: tmp_size is 1M, too little for temporary"),
        ("- display_name: A\n  docker_override: {mem_limit: 2.5}\n", "line 2: mem_limit is 2 bytes, too little for"),
        ("- display_name: A\n  docker_override: {mem_limit: '2.5'}\n", "line 2: mem_limit is 2 bytes, too little for"),
        (
            "- display_name: A\n  docker_override: {mem_limit: true}\n",
            "line 2: mem_limit must be a number with K, M",
        ),
        ("- display_name: A\n  docker_override: {mem_guarantee: 1K}\n", "line 2: mem_guarantee is 1K, less than the"),
        ("- display_name: A\n  slug: a\n  slug: b\n", "line 3: slug is there twice"),
        ("- slug: a\n", "line 1: display_name is missing"),
        ("a:\n  display_name: A\nb:\n  description: x\n", "line 3: display_name is missing"),
        ("- display_name: [A\n", "line 2: is no YAML:"),
        ("- display_name: A\n\tslug: a\n", "line 2: is no YAML:"),
        ("- {display_name: A, slug: a}\x00", "line 1: is no YAML:"),
        ("just text", "line 1: profile takes a list"),
        (
            "- display_name: A\n  profile_options:\n    b:\n      unlisted_choice:\n        enabled: true\n"
            "        validation_regex: '('\n        docker_override: {image: '{value}'}\n",
            "line 6: validation_regex '(' is no regular expression",
        ),
    ],
)
def test_a_mistake_has_its_line(text: str, said: str) -> None:
    _, mistakes = profilesfile.read(text)
    assert [line for line in mistakes if line.startswith(said)], mistakes


def test_memory_in_profiles_is_read_as_that_of_settings() -> None:
    text = "- display_name: A\n  profile_options:\n    size:\n      choices:\n"
    for name, amount in {"a": "'2147483648'", "b": "2147483648", "c": "2.5G", "d": "null"}.items():
        text += f"        {name}: {{display_name: {name}, docker_override: {{mem_limit: {amount}}}}}\n"
    profiles, mistakes = profilesfile.read(text)
    assert mistakes == []
    limits = [override["mem_limit"] for _, override in profilesfile.overrides(profiles)]
    assert limits == [2**31, 2**31, "2.5G", None]


def test_all_mistakes_come_at_once_in_order() -> None:
    text = "- display_name: A\n  default: maybe\n- slug: b\n  gruops: [staff]\n"
    assert [line.split(":")[0] for line in profilesfile.read(text)[1]] == ["line 2", "line 3", "line 4"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(Mistakes, match=r"PROFILES_FILE /etc/profiles\.yaml cannot be read"):
        profilesfile.load("/etc/profiles.yaml", tmp_path / "not-mounted")
    (tmp_path / "wrong").write_text("- slug: a\n")
    with pytest.raises(Mistakes, match=r"PROFILES_FILE /etc/profiles\.yaml, line 1: display_name is missing"):
        profilesfile.load("/etc/profiles.yaml", tmp_path / "wrong")
    assert profilesfile.load("", tmp_path / "wrong") == []


class TestSchema:
    """What editors are told is what the spawner reads."""

    schema = json.loads((ROOT / "hub/profiles.schema.json").read_text())

    def test_it_is_one_and_takes_a_good_file(self) -> None:
        Draft202012Validator.check_schema(self.schema)
        Draft202012Validator(self.schema).validate(yaml.safe_load(GOOD))
        assert not Draft202012Validator(self.schema).is_valid([{"display_name": "A", "docker_overide": {}}])

    @pytest.mark.parametrize(
        ("part", "known"),
        [
            ("profile", profile_list.PROFILE_KEYS),
            ("option", profile_list.OPTION_KEYS),
            ("choice", profile_list.CHOICE_KEYS),
            ("unlisted_choice", profile_list.UNLISTED_KEYS),
        ],
    )
    def test_it_has_the_spawners_words(self, part: str, known: dict[str, object]) -> None:
        assert set(self.schema["$defs"][part]["properties"]) == set(known)
