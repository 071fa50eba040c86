"""Image definitions: what one image is, as written in build/images/<name>.toml, and what several have in common."""

import difflib
import hashlib
import json
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, AnyUrl, BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from ci.host.errors import InputError
from ci.host.files import sha256_file, write_atomic
from ci.host.repository import ROOT
from ci.records.record import Part, Sha256

GIB = 1 << 30

PackageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]
UnitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9@:_.\\-]+\.(service|socket|timer|mount|path|target)$")]
# As dpkg has them for path-exclude: a `*` stands for slashes too.
PathPattern = Annotated[str, Field(pattern=r"^/(usr|lib)/[A-Za-z0-9_.*?+@/\[\]-]+$")]
ProgramPath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9_./+@-]+$")]
Fingerprint = Annotated[str, Field(pattern=r"^[0-9A-F]{40}$")]
StreamName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:+_-]{0,199}$")]

# Below the folder of definitions: what they can extend.
COMMON = "common"
SCHEMA_PATH = ROOT / "build/images/definition.schema.json"

RELEASE_IMAGE = "jammy"  # what is built where nothing is said, and releases carry
DEMO_IMAGE = "bookworm"  # what needs no image host

Tables = dict[str, Any]

SIGNED_INDEX = "/streams/v1/index.sjson"


def _of_a_signed_index(url: AnyUrl) -> AnyUrl:
    if not str(url).endswith(SIGNED_INDEX):
        raise ValueError(f"it must end in {SIGNED_INDEX}: the form of the index that is signed")
    return url


class Bootstrap(Part):
    """A base made from `packages`, sorted, of `suite`, trusted through `keyring`.

    `archives` are asked for the suite, in this order, where none of this machine's own package archives has it. With
    `separate_boot` the disk has a file system for /boot.
    """

    suite: Annotated[str, Field(pattern=r"^[a-z]+$")]
    keyring: Path
    packages: Annotated[tuple[PackageName, ...], AfterValidator(lambda names: tuple(sorted(names)))]
    archives: tuple[AnyUrl, ...] = (
        AnyUrl("http://deb.debian.org/debian"),
        AnyUrl("http://archive.debian.org/debian"),
    )
    separate_boot: bool = False


class Streams(Part):
    """Where newer bases are announced: an item of a product in a signed simplestreams index."""

    index: Annotated[AnyUrl, AfterValidator(_of_a_signed_index)]
    product: StreamName
    item: StreamName


class Base(Part):
    """Where the base image comes from: a URL, or a bootstrap."""

    url: AnyUrl | None = None
    sha256: Sha256 | None = None
    keyring: Path | None = None
    fingerprints: tuple[Fingerprint, ...] = ()
    streams: Streams | None = None
    bootstrap: Bootstrap | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.url is None) == (self.bootstrap is None):
            raise ValueError("give either `url` or a `bootstrap` table")
        if self.streams and not (self.url and self.sha256 and self.keyring and self.fingerprints):
            raise ValueError("`streams` needs `url`, `sha256`, `keyring` and `fingerprints` beside it")
        return self


class OperatingSystem(Part):
    """What the base's /etc/os-release must say."""

    id: str
    version_id: str


class Disk(Part):
    """The virtual disk; the root file system fills it. A larger image than `max_image_mib` fails the build."""

    size_gib: Annotated[int, Field(ge=4, le=2048)]
    max_image_mib: Annotated[int, Field(ge=1)] | None = None


class Packages(Part):
    """Packages by name: `install` must be there afterwards, `purge` must not."""

    upgrade: bool = True
    install: tuple[PackageName, ...]
    purge: tuple[PackageName, ...] = ()

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if both := sorted({*self.install} & {*self.purge}):
            raise ValueError(f"`install` and `purge` both name {', '.join(both)}")
        return self


class Files(Part):
    """What packages bring and the image leaves out: all that `exclude` matches, except for what `include` matches.

    Programs of `plain` lose their set-user-ID and set-group-ID bits.
    """

    exclude: tuple[PathPattern, ...] = ()
    include: tuple[PathPattern, ...] = ()
    plain: tuple[ProgramPath, ...] = ()


class Services(Part):
    """systemd units: `mask` and `disable` where they exist, `enable` always."""

    mask: tuple[UnitName, ...] = ()
    disable: tuple[UnitName, ...] = ()
    enable: tuple[UnitName, ...] = ()


class Definition(Part):
    """One image. `distribution` is part of the file names.

    `release` says whether releases carry it, `check` whether pull requests build it all the same where they do not.
    """

    distribution: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    release: bool
    check: bool = False
    base: Base
    os: OperatingSystem
    disk: Disk
    packages: Packages
    files: Files = Files()
    services: Services

    def stem(self, version: str) -> str:
        """The name that all files of one build share."""
        return f"fountainkit-toolsmith-{self.distribution}-{version}"


def load_definition(name: str, folder: Path) -> Definition:
    """Read `<folder>/<name>.toml`; raises InputError for an unknown name or an invalid file."""
    path = _file(folder, name, f"there is no image definition '{name}'")
    return parse_definition(path.read_text(encoding="utf-8"), str(path), folder)


def parse_definition(text: str, path: str, folder: Path) -> Definition:
    """The definition that `text` is, with what it extends in `folder`/common; InputErrors name it as `path`."""
    tables, common = _whole(text, path, folder)
    if common:
        path = f"{path}, which extends {', '.join(map(str, common))},"
    try:
        return Definition.model_validate(tables)
    except ValidationError as error:
        raise InputError(
            f"{path} is not a valid image definition",
            hint="docs/definitions.md lists every key.",
            details="\n".join(_explain(finding) for finding in error.errors(include_url=False)),
        ) from error


def definition_files(name: str, folder: Path) -> list[Path]:
    """The files that a definition is written in: its own, and what it extends."""
    path = folder / f"{name}.toml"
    return [path, *_whole(path.read_text(encoding="utf-8"), str(path), folder)[1]]


def _whole(text: str, path: str, folder: Path) -> tuple[Tables, list[Path]]:
    """The tables of a definition with those of all that it extends, and the files of the latter."""
    tables, files = _tables(text, path), list[Path]()
    while (extends := tables.pop("extends", None)) is not None:
        where = files[-1] if files else path
        file = _file(folder / COMMON, extends, f"{where} extends '{extends}', which is not in {folder / COMMON}")
        if file in files:
            raise InputError(f"{path} extends '{extends}', which extends itself", hint=f"Look at `extends` in {file}.")
        files.append(file)
        tables = extended(_tables(file.read_text(encoding="utf-8"), str(file)), tables)
    return tables, files


def extended(common: Tables, own: Tables) -> Tables:
    """Both as one: tables are joined key by key, lists are added to, and of anything else `own` wins."""
    joined = dict(common)
    for key, value in own.items():
        match common.get(key), value:
            case dict() as there, dict():
                joined[key] = extended(there, value)
            case list() as there, list():
                joined[key] = [*there, *value]
            case _:
                joined[key] = value
    return joined


def _file(folder: Path, name: object, unknown: str) -> Path:
    """`<folder>/<name>.toml`; raises InputError, which begins with `unknown`, where it is not there."""
    known = sorted(path.stem for path in folder.glob("*.toml"))
    if name not in known:
        names = ", ".join(known) or "nothing"
        raise InputError(f"{unknown}{_nearest(str(name), known)}", hint=f"Known are: {names}.")
    return folder / f"{name}.toml"


def _tables(text: str, path: str) -> Tables:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}", hint="Correct the line it names.") from error


def input_digests(root: Path, *paths: Path) -> tuple[str, dict[str, str]]:
    """The SHA-256 of all files at or under `paths`, as what decides the image besides the base: of all, and of each.

    Files are named relative to `root`, so that two checkouts of one commit agree.
    """
    files = sorted({file for path in paths for file in (path, *path.rglob("*")) if file.is_file()})
    digests = {file.relative_to(root).as_posix(): sha256_file(file) for file in files}
    executable = [bool(file.stat().st_mode & stat.S_IXUSR) for file in files]
    whole = json.dumps([*zip(digests.items(), executable, strict=True)])
    return hashlib.sha256(whole.encode()).hexdigest(), digests


def _explain(finding: ErrorDetails) -> str:
    location = [str(part) for part in finding["loc"]]
    where = ".".join(location)
    if finding["type"] == "extra_forbidden":
        return f"unknown key `{where}`{_nearest(location[-1], _keys_at(location[:-1]))}"
    if finding["type"] == "missing":
        return f"the key `{where}` is missing"
    return f"`{where}`: {finding['msg']}"


def _keys_at(location: list[str]) -> list[str]:
    section: type[BaseModel] = Definition
    for part in location:
        annotation = section.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        section = next(kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(section.model_fields)


def _nearest(word: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean `{matches[0]}`?" if matches else ""


def schema_text() -> str:
    """The JSON Schema of one file in build/images/, for editors; what it leaves out may be in what it extends."""
    schema = Definition.model_json_schema()
    for table in (schema, *schema["$defs"].values()):
        table.pop("required", None)
    schema["properties"] = {"extends": {"type": "string"}} | schema["properties"]
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2) + "\n"


if __name__ == "__main__":
    write_atomic(SCHEMA_PATH, schema_text())
