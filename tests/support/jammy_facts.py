"""What Ubuntu 22.04's cloud image says of its packages, as a base's facts, from the table in tests/support/data."""

import csv
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ci.host.repository import ROOT
from ci.image.packages.apt import Apt

DATA = ROOT / "tests/support/data"
SOURCES = "deb [trusted=yes] http://archive.ubuntu.com/ubuntu jammy main\n"
# What apt calls the list that belongs to this source.
LIST = "archive.ubuntu.com_ubuntu_dists_jammy_main_binary-amd64_Packages"
KERNEL, OLDER, NEWER = "5.15.0-48", "5.15.0-40", "5.15.0-60"

# Of the table's columns, those that are fields of a package's entry.
FIELDS = {
    "name": "Package",
    "version": "Version",
    "arch": "Architecture",
    "multi_arch": "Multi-Arch",
    "essential": "Essential",
    "important": "Important",
    "priority": "Priority",
    "section": "Section",
    "depends": "Depends",
    "pre_depends": "Pre-Depends",
    "recommends": "Recommends",
    "suggests": "Suggests",
    "provides": "Provides",
    "conflicts": "Conflicts",
    "breaks": "Breaks",
}

Row = Mapping[str, str]
Marks = Callable[[Row], bool]

# Which packages count as installed by hand.
TOPS = frozenset({
    "cloud-init", "grub-pc", "linux-virtual", "openssh-server", "shim-signed", "ssh-import-id", "ubuntu-minimal",
    "ubuntu-server", "ubuntu-standard",
})  # fmt: skip
MARKS: Mapping[str, Marks] = {
    "installer": lambda row: row["mark"] == "manual",
    "all-manual": lambda row: True,  # noqa: ARG005
    "all-automatic-but-the-tops": lambda row: row["name"] in TOPS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The packages that are in the image, and those that the archive offers beside them."""

    installed: tuple[Row, ...]
    offered: tuple[Row, ...]

    @property
    def names(self) -> frozenset[str]:
        """Of what is installed."""
        return frozenset(row["name"] for row in self.installed)


def read_table() -> Table:
    with (DATA / "jammy-cloud-image.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return Table(
        installed=tuple(row for row in rows if row["mark"] != "offered"),
        offered=tuple(row for row in rows if row["mark"] == "offered"),
    )


def older_kernel(rows: Sequence[Row]) -> list[Row]:
    """The kernel that was the newest before, with its modules and headers."""
    return [_renamed(row, {KERNEL: OLDER}) for row in rows if KERNEL in row["name"]]


def newer_kernel(rows: Sequence[Row]) -> list[Row]:
    """One that the archive has meanwhile, with the metapackages that bring it."""
    metapackages = {dotted(KERNEL): dotted(NEWER)}
    return [
        _renamed(row, {KERNEL: NEWER, **metapackages})
        for row in rows
        if KERNEL in row["name"] or row["version"] == dotted(KERNEL)
    ]


def dotted(release: str) -> str:
    """The version of the metapackages: 5.15.0.48.48."""
    abi = release.rpartition("-")[2]
    return f"{release.replace('-', '.')}.{abi}"


def _renamed(row: Row, names: Mapping[str, str]) -> Row:
    changed = dict(row)
    for old, new in names.items():
        changed = {column: value.replace(old, new) for column, value in changed.items()}
    return changed


def write_facts(facts: Path, rows: Sequence[Row], manual: Marks, states: Mapping[str, str] | None = None) -> None:
    """Write the files of a base in which `rows` are installed; `states` are those that are not dpkg's usual."""
    states = states or {}
    files = {
        "etc/apt/sources.list": SOURCES,
        "var/lib/dpkg/arch": "amd64\n",
        "var/lib/dpkg/status": "\n".join(
            _entry(row, f"Status: {states.get(row['name'], 'install ok installed')}\nMaintainer: x\nDescription: x\n")
            for row in rows
        ),
        "var/lib/apt/extended_states": "".join(
            f"Package: {row['name']}\nArchitecture: amd64\nAuto-Installed: 1\n\n" for row in rows if not manual(row)
        ),
    }
    for name, content in files.items():
        path = facts / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def open_apt(folder: Path, rows: Sequence[Row], offered: Collection[Row], manual: Marks) -> Apt:
    """apt for a base with `rows`, which has fetched a list of what is `offered`."""
    write_facts(folder / "facts", rows, manual)
    apt = Apt(folder / "apt", folder / "facts", folder / "archives")
    listed = "\n".join(_entry(row, _promise(row)) for row in offered)
    (folder / "apt" / "lists" / LIST).write_text(listed, encoding="utf-8")
    return apt


def _promise(row: Row) -> str:
    """Of a file that nobody fetches."""
    name = f"{row['name']}_{row['version']}_{row['arch']}.deb"
    return f"Filename: pool/{name}\nSize: 1\nSHA256: {sha256(name.encode()).hexdigest()}\n"


def _entry(row: Row, more: str) -> str:
    return "".join(f"{field}: {row[column]}\n" for column, field in FIELDS.items() if row[column]) + more
