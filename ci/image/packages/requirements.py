"""What the image asks of the tools in its base, from build/provision/requirements.toml, and whether they have it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from debian.debian_support import Version
from pydantic import Field, TypeAdapter

from ci.host.errors import BaseImageError
from ci.image.definition import PackageName
from ci.records.record import Part


class Requirement(Part):
    """What is used of one package: its programs, and each of its features with the oldest version that has it."""

    programs: tuple[str, ...] = ()
    needs: Mapping[str, Annotated[str, Field(pattern=r"^\d[0-9A-Za-z.+~]*$")]]


Requirements = Mapping[PackageName, Requirement]
_TABLES = TypeAdapter(Requirements)


def read_requirements(path: Path) -> Requirements:
    """The requirements in the file; it is part of this repository, so that an error in it is a bug."""
    return _TABLES.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))


def programs(requirements: Requirements) -> frozenset[str]:
    """The names of all programs that are used."""
    return frozenset(name for requirement in requirements.values() for name in requirement.programs)


def require_met(requirements: Requirements, versions: Mapping[str, str]) -> None:
    """Raise BaseImageError where a package is not there, or too old for something that is used of it.

    `versions` are those that the image will have, by package.
    """
    problems = []
    for package, requirement in requirements.items():
        if (found := versions.get(package)) is None:
            problems.append(f"{package} is not there")
            continue
        problems += [
            f"{need} needs {package} {since}, and it is {found}"
            for need, since in requirement.needs.items()
            # Without what Debian puts around it: 1:8.9p1-3ubuntu0.10 is 8.9p1.
            if Version(str(Version(found).upstream_version)) < Version(since)
        ]
    if problems:
        raise BaseImageError(
            f"the base image's tools are not what this image needs: {problems[0]}",
            hint="Use a newer base. build/provision/requirements.toml lists what is needed of which tool.",
            details="\n".join(problems[1:]),
        )
