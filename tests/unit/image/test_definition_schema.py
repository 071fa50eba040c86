"""What an editor is told of a definition is what the reader takes."""

import json
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ci.host.repository import BUILD
from ci.image.definition import SCHEMA_PATH, schema_text

FILES = sorted((BUILD / "images").rglob("*.toml"))
VALIDATOR = Draft202012Validator(json.loads(schema_text()))


def test_the_schema_beside_the_definitions_is_the_readers() -> None:
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_definition_leads_the_editor_to_it_and_follows_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    # https://taplo.tamasfe.dev/configuration/directives.html#the-schema-directive
    directive, _, where = text.partition("\n")[0].partition(" ")
    assert directive == "#:schema"
    assert path.parent.joinpath(where).resolve() == SCHEMA_PATH
    assert list(VALIDATOR.iter_errors(tomllib.loads(text))) == []


@pytest.mark.parametrize(
    "line", ["instal = []", "packages.instal = []", "disk.size_gib = '20'", "packages.install = ['-x']", "release = 3"]
)
def test_what_the_reader_refuses_of_a_single_key_is_marked(line: str) -> None:
    assert list(VALIDATOR.iter_errors(tomllib.loads(line)))
