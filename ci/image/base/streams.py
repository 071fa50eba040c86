"""Simplestreams, as Ubuntu announces its images: signed JSON read strictly into what one product offers.

An index names lists of products, a list has each product's versions, called serials, and each serial has items: files
with path, size and digest. https://canonical-simplestreams.readthedocs-hosted.com
"""

import difflib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from ci.host.errors import InputError, VerificationError
from ci.records.record import Sha256
from ci.records.strict_json import parse_json

DOWNLOADS = "image-downloads"
RELEASED = "release"
SIGNED_SUFFIX = ".sjson"

RawT = TypeVar("RawT", bound=BaseModel)

_SERIAL = re.compile(r"(?P<day>[0-9]{8})(?:\.(?P<number>[0-9]{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Serial:
    """A version of a product: the day it was made on and a number within it. `text` is how the publisher writes it."""

    day: date
    number: int
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read YYYYMMDD or YYYYMMDD.N; None for anything else."""
        if found := _SERIAL.fullmatch(text):
            with suppress(ValueError):  # the 31st of February
                return cls(day=date.fromisoformat(found["day"]), number=int(found["number"] or 0), text=text)
        return None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A file that a stream announces; `path` is relative to the stream's root."""

    serial: Serial
    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What a stream says of one product. `offers` are in the order of their serials, the oldest first.

    `updated` is the stream's own date. `incomplete` are released serials that do not have the item.
    """

    name: str
    updated: datetime
    offers: tuple[Offer, ...]
    incomplete: tuple[Serial, ...]


class _Raw(BaseModel, frozen=True, extra="ignore"):
    """A piece of a stream; what we do not need is dropped."""


def _inside(path: str) -> str:
    if {"", ".", ".."} & set(path.split("/")):
        message = "it must stay inside the stream's folder"
        raise ValueError(message)
    return path


_Path = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:+/-]{1,500}$"), AfterValidator(_inside)]


class _Entry(_Raw):
    datatype: str = ""
    path: _Path
    products: tuple[str, ...] = ()


class _Index(_Raw):
    format: Literal["index:1.0"]
    index: dict[str, _Entry]


class _Item(_Raw):
    path: _Path
    sha256: Sha256
    size: Annotated[int, Field(gt=0, strict=True)]


class _Version(_Raw):
    label: str | None = None
    items: dict[str, Any]


class _Product(_Raw):
    label: str = RELEASED
    versions: dict[str, _Version]


class _Products(_Raw):
    format: Literal["products:1.0"]
    content_id: str
    updated: str
    products: dict[str, Any]


def find_list(text: bytes, product: str, where: str) -> tuple[str, str]:
    """The one list of downloads in an index that has the product: its name, and its path from the stream's root.

    `where` names the index in errors. Raises InputError where no list has it, VerificationError where the index makes
    no sense.
    """
    index = _parsed(_Index, text, where)
    lists = {name: entry for name, entry in index.index.items() if entry.datatype == DOWNLOADS}
    found = [(name, entry) for name, entry in lists.items() if product in entry.products]
    if not found:
        raise _unknown("product", product, sorted({one for entry in lists.values() for one in entry.products}), where)
    if len(found) > 1:
        raise _senseless(where, f"{product} is in {len(found)} lists: {', '.join(name for name, _ in found)}")
    name, entry = found[0]
    if not entry.path.endswith(SIGNED_SUFFIX):
        raise _senseless(where, f"the list of {product} is at {entry.path}, which is not the form that is signed")
    return name, entry.path


def read_product(text: bytes, name: str, product: str, item: str, where: str) -> Product:
    """What the list `name` of products says of one, and of the files of one kind. `where` names the list in errors.

    Raises InputError where there is no such product or item, VerificationError where the list makes no sense.
    """
    found = _parsed(_Products, text, where)
    if found.content_id != name:
        raise _senseless(where, f"it is the list {found.content_id!r}, the index promised {name!r}")
    if product not in found.products:
        raise _unknown("product", product, sorted(found.products), where)
    raw = _parsed(_Product, found.products[product], f"{product} in {where}")
    updated = _updated(found.updated, where)
    versions = _by_serial(raw, updated, f"{product} in {where}")
    released = {serial: one for serial, one in versions.items() if (one.label or raw.label) == RELEASED}
    offers: list[Offer] = []
    for serial, version in sorted(released.items()):
        if item in version.items:
            file = _parsed(_Item, version.items[item], f"{item} of {serial} of {product} in {where}")
            offers.append(Offer(serial=serial, path=file.path, sha256=file.sha256, size=file.size))
    if released and not offers:
        raise _unknown("item", item, sorted({name for one in released.values() for name in one.items}), where)
    incomplete = tuple(sorted(serial for serial, one in released.items() if item not in one.items))
    return Product(name=product, updated=updated, offers=tuple(offers), incomplete=incomplete)


def _by_serial(product: _Product, updated: datetime, where: str) -> dict[Serial, _Version]:
    versions: dict[Serial, _Version] = {}
    for text, version in product.versions.items():
        serial = Serial.parse(text)
        if serial is None:
            raise _senseless(where, f"{text[:40]!r} is not a serial, YYYYMMDD or YYYYMMDD.N")
        if serial in versions:
            raise _senseless(where, f"the serial {serial} comes twice, under different names")
        # By the stream's own date: this machine's clock may be wrong, and is not asked.
        if serial.day > updated.date():
            raise _senseless(where, f"the serial {serial} is later than the list itself, which is of {updated:%Y%m%d}")
        versions[serial] = version
    return versions


def _updated(text: str, where: str) -> datetime:
    try:
        found = parsedate_to_datetime(text)
        # -0000 is UTC of an unknown place (RFC 5322, 3.3); without a zone it would be taken for this machine's.
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _senseless(where, f"it says to be of {text[:60]!r}, which is not a date") from None


def _parsed(kind: type[RawT], data: object, where: str) -> RawT:
    """`data` as what it should be; bytes are JSON."""
    try:
        return kind.model_validate(parse_json(data) if isinstance(data, bytes) else data)
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in finding["loc"])[:120]
        raise _senseless(where, f"{place or 'it'}: {finding['msg'][:200]}") from None
    except ValueError as error:
        raise _senseless(where, str(error)) from None


def _senseless(where: str, problem: str) -> VerificationError:
    return VerificationError(
        f"{where} makes no sense: {problem}",
        hint="Its signature is good, so the publisher wrote it: look at it, and wait for a correction. Nothing was "
        "changed. A base can be pinned by hand: docs/definitions.md.",
    )


def _unknown(kind: str, name: str, known: Sequence[str], where: str) -> InputError:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return InputError(
        f"{where} has no {kind} {name}",
        hint=f"Correct `base.streams.{kind}` in the definition."
        + (f" The nearest that it has: {', '.join(one[:200] for one in near)}." if near else ""),
    )
