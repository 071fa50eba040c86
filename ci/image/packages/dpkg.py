"""What dpkg says of a base image: its packages, and whether they are in a state that can be built upon."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain
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
    words = ((entry["Package"], *entry.get("Status", "").split()) for entry in _entries(facts))
    packages = sorted(one for one in words if len(one) == 4)  # the others say nothing of a state
    unsettled = [name for name, *_, state in packages if state not in SETTLED]
    held = [name for name, want, _, state in packages if want == "hold" and state == "installed"]
    foreign = [name for name in _lines(facts, ARCHITECTURES) if name != NATIVE]
    # Three lines each: from, to, by whom.
    diverted = map(PurePosixPath, sorted(_lines(facts, DIVERSIONS)[0::3]))
    replaced = [str(path) for path in diverted if path.parent.name in {"bin", "sbin"} and path.name in programs]
    for problem, names, remedy in (
        ("has packages that are not completely installed", unsettled, "dpkg --configure -a` there"),
        ("holds packages back", held, f"apt-mark unhold {' '.join(held)}` there"),
        ("takes packages of a foreign architecture", foreign, "dpkg --remove-architecture` there, which names them"),
        ("has another program in the place of", replaced, f"dpkg-divert --remove {' '.join(replaced[:1])}` there"),
    ):
        if names:
            raise BaseImageError(
                f"the base image {problem}: {', '.join(names)}",
                hint=f"Use a base as its publisher made it, or change it back: `{remedy}.",
            )


def package(entry: Mapping[str, str]) -> PackageStanza:
    """A package from its entry in dpkg's status file or in an archive's list."""
    return PackageStanza(
        name=entry["Package"],
        version=entry["Version"],
        needs=_relations(entry, "Pre-Depends", "Depends"),
        provides=tuple(chain.from_iterable(_relations(entry, "Provides"))),
        conflicts=tuple(chain.from_iterable(_relations(entry, "Conflicts", "Breaks"))),
        vital=any(entry.get(field) == "yes" for field in VITAL),
    )


def parse_packages(text: str) -> dict[str, PackageStanza]:
    """The packages that `text` describes, in the form of an archive's list, by name; of several the first."""
    found: dict[str, PackageStanza] = {}
    for entry in Packages.iter_paragraphs(text, use_apt_pkg=False):
        found.setdefault(entry["Package"], package(entry))
    return found


def _relations(entry: Mapping[str, str], *fields: str) -> tuple[Need, ...]:
    needs = (need.split("|") for field in fields for need in entry.get(field, "").split(","))
    found = (tuple(match[1] for one in need if (match := _NAME.match(one))) for need in needs)
    return tuple(need for need in found if need)


def _entries(facts: Path) -> list[Packages]:
    path = facts / STATUS.strip("/")
    if not path.exists():
        raise BaseImageError("the base image has no dpkg status", hint="It must be a Debian or Ubuntu system.")
    with path.open(encoding="utf-8", errors="replace") as file:
        return list(Packages.iter_paragraphs(file, use_apt_pkg=False))


def _lines(facts: Path, path: str) -> list[str]:
    file = facts / path.strip("/")
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
