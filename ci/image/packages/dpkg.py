"""What dpkg says of a base image: its packages, and whether they are in a state that can be built upon."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from debian.deb822 import Packages

from ci.host.errors import BaseImageError

STATUS = "/var/lib/dpkg/status"
ARCHITECTURES = "/var/lib/dpkg/arch"
DIVERSIONS = "/var/lib/dpkg/diversions"
NATIVE = "amd64"
# States in which nothing of a package waits to be done. https://manpages.debian.org/dpkg.1#Package_states
SETTLED = ("installed", "config-files", "not-installed")

_NAME = re.compile(r"\s*([a-z0-9][a-z0-9+.-]*)")

# https://manpages.debian.org/deb-control.5
VITAL = ("Essential", "Protected", "Important")

# A need is met by any one of these packages.
Need = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageStanza:
    """A package: what it needs to work, what else it counts as, what it cannot be beside. Versions are left out.

    apt does not remove a `vital` one while nobody is there to say yes.
    """

    name: str
    version: str
    needs: tuple[Need, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    vital: bool = False


def installed(facts: Path) -> dict[str, PackageStanza]:
    """What is installed, by name; `facts` has the base's files. Raises BaseImageError where it is no such system."""
    return {
        entry["Package"]: package(entry) for entry in _entries(facts) if entry.get("Status", "").endswith(" installed")
    }


def require_buildable(facts: Path, programs: Collection[str]) -> None:
    """Raise BaseImageError where somebody has left packages in a state that a build would have to undo.

    `programs` are those that the build relies on: none may be another than its package's.
    """
    entries = _entries(facts)
    words = {entry["Package"]: entry.get("Status", "").split() for entry in entries}
    unsettled = [name for name, (*_, state) in _complete(words) if state not in SETTLED]
    if unsettled:
        raise _unusable("has packages that are not completely installed", unsettled, "`dpkg --configure -a` there")
    held = [name for name, (want, *_, state) in _complete(words) if want == "hold" and state == "installed"]
    if held:
        raise _unusable("holds packages back", held, f"`apt-mark unhold {' '.join(held)}` there")
    foreign = [name for name in _lines(facts, ARCHITECTURES) if name != NATIVE]
    if foreign:
        raise _unusable(
            "takes packages of a foreign architecture", foreign, "`dpkg --remove-architecture` there, which names them"
        )
    diverted = diversions(_lines(facts, DIVERSIONS))
    replaced = [path for path in diverted if is_program(path) and PurePosixPath(path).name in programs]
    if replaced:
        raise _unusable("has another program in the place of", replaced, f"`dpkg-divert --remove {replaced[0]}` there")


def diversions(lines: list[str]) -> list[str]:
    """The paths that are diverted; three lines each: from, to, by whom."""
    return sorted(lines[0::3])


def is_program(path: str) -> bool:
    """Whether it is a place for programs."""
    return PurePosixPath(path).parent.name in {"bin", "sbin"}


def package(entry: Mapping[str, str]) -> PackageStanza:
    """A package from its entry in dpkg's status file or in an archive's list."""
    needs = [*_relations(entry.get("Pre-Depends", "")), *_relations(entry.get("Depends", ""))]
    conflicts = [*_relations(entry.get("Conflicts", "")), *_relations(entry.get("Breaks", ""))]
    return PackageStanza(
        name=entry["Package"],
        version=entry["Version"],
        needs=tuple(needs),
        provides=tuple(name for need in _relations(entry.get("Provides", "")) for name in need),
        conflicts=tuple(name for need in conflicts for name in need),
        vital=any(entry.get(field) == "yes" for field in VITAL),
    )


def parse_packages(text: str) -> dict[str, PackageStanza]:
    """The packages that `text` describes, in the form of an archive's list, by name; of several the first."""
    found: dict[str, PackageStanza] = {}
    for entry in Packages.iter_paragraphs(text, use_apt_pkg=False):
        found.setdefault(entry["Package"], package(entry))
    return found


def _relations(field: str) -> list[Need]:
    needs = [tuple(match[1] for one in need.split("|") if (match := _NAME.match(one))) for need in field.split(",")]
    return [need for need in needs if need]


def _entries(facts: Path) -> list[Packages]:
    path = facts / STATUS.strip("/")
    if not path.exists():
        raise BaseImageError("the base image has no dpkg status", hint="It must be a Debian or Ubuntu system.")
    with path.open(encoding="utf-8", errors="replace") as file:
        return list(Packages.iter_paragraphs(file, use_apt_pkg=False))


def _complete(words: Mapping[str, list[str]]) -> list[tuple[str, list[str]]]:
    """Without entries that say nothing of a state."""
    return sorted((name, status) for name, status in words.items() if len(status) == 3)


def _lines(facts: Path, path: str) -> list[str]:
    file = facts / path.strip("/")
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []


def _unusable(problem: str, names: list[str], remedy: str) -> BaseImageError:
    return BaseImageError(
        f"the base image {problem}: {', '.join(names)}",
        hint=f"Use a base as its publisher made it, or change it back: {remedy}.",
    )
