"""What the image asks of the tools in its base, from build/provision/requirements.toml, and whether they have it."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from debian.debian_support import Version
from pydantic import Field, TypeAdapter

from ci.host.errors import BaseImageError
from ci.image.definition import PackageName
from ci.records.record import Part

VersionText = Annotated[str, Field(pattern=r"^\d[0-9A-Za-z.+~]*$")]


class Requirement(Part):
    """What is used of a package: its programs, and each of its features with the oldest version that has it."""

    package: PackageName
    programs: tuple[str, ...] = ()
    needs: Mapping[str, VersionText]


_LIST = TypeAdapter(tuple[Requirement, ...])


def read_requirements(path: Path) -> tuple[Requirement, ...]:
    """The requirements in the file; it is part of this repository, so that an error in it is a bug."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return _LIST.validate_python([{"package": package, **table} for package, table in tables.items()])


def programs(requirements: Sequence[Requirement]) -> frozenset[str]:
    """The names of all programs that are used."""
    return frozenset(name for requirement in requirements for name in requirement.programs)


def require_met(requirements: Sequence[Requirement], versions: Mapping[str, str]) -> None:
    """Raise BaseImageError where a package is not there, or too old for something that is used of it.

    `versions` are those that the image will have, by package.
    """
    problems = [problem for requirement in requirements for problem in _unmet(requirement, versions)]
    if problems:
        raise BaseImageError(
            f"the base image's tools are not what this image needs: {problems[0]}",
            hint="Use a newer base. build/provision/requirements.toml lists what is needed of which tool.",
            details="\n".join(problems[1:]),
        )


def _unmet(requirement: Requirement, versions: Mapping[str, str]) -> list[str]:
    found = versions.get(requirement.package)
    if found is None:
        return [f"{requirement.package} is not there"]
    return [
        f"{need} needs {requirement.package} {since}, and it is {found}"
        for need, since in requirement.needs.items()
        if Version(upstream(found)) < Version(since)
    ]


def upstream(version: str) -> str:
    """A package's version without what Debian puts around it: 1:8.9p1-3ubuntu0.10 is 8.9p1."""
    return str(Version(version).upstream_version)
