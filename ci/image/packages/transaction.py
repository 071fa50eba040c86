"""What becomes of a base's packages, as a plan: it is looked at before it is carried out, and carried out as it is."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.host.errors import BuildError
from ci.image.definition import Packages
from ci.records.build import PackageStep

# What decides which packages go.
POLICY = Path(__file__).with_name("policy.conf").read_text(encoding="utf-8")
NONE = "-"  # apt's word for the version of a package that is not there

_TO_FETCH = re.compile(r"'[^']+' (\S+)_([^_\s]+)_([^_\s]+)\.deb \d+ SHA256:([0-9a-f]{64})")
_REMOVED = re.compile(r"^(?:Purg|Remv) (\S+) \[([^\]]+)\]", re.MULTILINE)
_INSTALLED = re.compile(r"^Inst (\S+) (?:\[([^\]]+)\] )?\((\S+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deb:
    """A package file."""

    name: str
    version: str
    architecture: str
    sha256: str

    @property
    def file(self) -> str:
        """What apt calls the file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What apt is asked for, what it makes of it, and the files it needs for that."""

    request: tuple[str, ...]
    changes: tuple[PackageStep, ...]
    install: tuple[Deb, ...]

    @property
    def comes(self) -> tuple[PackageStep, ...]:
        """Packages that were not there."""
        return tuple(change for change in self.changes if not change.before)

    @property
    def goes(self) -> tuple[PackageStep, ...]:
        """Packages that will not be there."""
        return tuple(change for change in self.changes if not change.after)

    @property
    def becomes(self) -> tuple[PackageStep, ...]:
        """Packages in another version."""
        return tuple(change for change in self.changes if change.before and change.after)

    @property
    def plan(self) -> str:
        """All changes as the appliance compares them with what its apt is about to do: name, old and new version."""
        return "".join(f"{one.name} {one.before or NONE} {one.after or NONE}\n" for one in self.changes)


def request(wish: Packages, installed: Collection[str], leftovers: Iterable[str] = ()) -> tuple[str, ...]:
    """What to ask apt-get for; `leftovers` go as well.

    A base's packages depend on what goes: only `dist-upgrade` and `install` may remove the ones with the other.
    """
    unwanted = (set(wish.purge) & set(installed)) | set(leftovers)
    verb = "dist-upgrade" if wish.upgrade else "install"
    return (verb, "--auto-remove", "--purge", *sorted(wish.install), *(f"{name}-" for name in sorted(unwanted)))


def after(installed: Iterable[str], changes: Sequence[PackageStep]) -> set[str]:
    """The packages that will be there."""
    gone = {change.name for change in changes if not change.after}
    return (set(installed) | {change.name for change in changes}) - gone


def parse_files(output: str) -> tuple[Deb, ...]:
    """The files in the output of `apt-get --print-uris`, sorted by name."""
    debs = [
        Deb(name=name, version=version.replace("%3a", ":"), architecture=architecture, sha256=sha256)
        for name, version, architecture, sha256 in _TO_FETCH.findall(output)
    ]
    if len(debs) != sum(line.startswith("'") for line in output.splitlines()):
        raise BuildError("apt names package files in a way that is not understood", details=output)
    return tuple(sorted(debs, key=lambda deb: (deb.name, deb.architecture)))


def parse_changes(output: str) -> tuple[PackageStep, ...]:
    """What `apt-get --simulate` says it would do, sorted."""
    gone = {PackageStep(name=name, before=version, after="") for name, version in _REMOVED.findall(output)}
    there = {PackageStep(name=name, before=old, after=new) for name, old, new in _INSTALLED.findall(output)}
    return tuple(sorted(gone | there))
