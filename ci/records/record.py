"""The form all records share: typed, frozen, strict about unknown keys, stable as text."""

import json
import re
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ci.host.errors import InputError
from ci.host.files import read_bounded, write_atomic
from ci.records.strict_json import parse_json

MAX_BYTES = 16 << 20
MAKE_AGAIN = "It may come from another version of this repository; make it again."

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RecordT = TypeVar("RecordT", bound="Record")


class Part(BaseModel):
    """A piece of a record."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Record(Part):
    """A document of its own; `schema` names its shape and changes when the shape does."""

    def write(self, path: Path) -> None:
        """Write it as JSON: whole or not at all."""
        write_atomic(path, self.to_json())

    def to_json(self) -> str:
        """Indented JSON with a final newline, keys in the order they are declared."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False) + "\n"


def read_record(path: Path, kind: type[RecordT]) -> RecordT:
    """Read a record that another stage wrote; raises InputError where it is not of that kind."""
    return parse_record(read_bounded(path, MAX_BYTES), kind, str(path))


def schema_of(data: bytes) -> str | None:
    """The schema that a document names; None where it names none, or is no JSON."""
    try:
        document = parse_json(data)
    except ValueError:
        return None
    schema = document.get("schema") if isinstance(document, dict) else None
    return schema if isinstance(schema, str) else None


def parse_record(data: bytes, kind: type[RecordT], where: str) -> RecordT:
    """A record in a file's bytes; raises InputError where it is not of that kind. `where` names the file."""
    try:
        document = parse_json(data)
    except ValueError as error:
        raise InputError(f"{where} is not a {_words(kind)}: {error}", hint=MAKE_AGAIN) from error
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        expected = kind.model_fields["schema_"].default
        if (found := schema_of(data)) not in {None, expected}:
            raise InputError(
                f"{where} is a record of schema {found!r}; this version of the repository reads {expected!r}",
                hint="Use the commands of the commit that wrote it.",
            ) from error
        faults = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}".removeprefix(": ")
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise InputError(
            f"{where} is not a {_words(kind)}: {faults[0]}", hint=MAKE_AGAIN, details="\n".join(faults[1:])
        ) from error


def _words(kind: type[Record]) -> str:
    """What a kind of record is called in a sentence."""
    return re.sub(r"\B(?=[A-Z])", " ", kind.__name__).lower()
