"""What happened to the packages between two images."""

from collections import Counter
from collections.abc import Iterable, Iterator

from debian.debian_support import Version

from ci.records.packages import Package, PackageChange, PackageDiff
from ci.text.figures import change, counted, mebibytes
from ci.text.markdown import BLOCKS, Markdown
from ci.text.table import TitledTable

ByKey = dict[tuple[str, str], Package]


def compare(old: Iterable[Package], new: Iterable[Package]) -> PackageDiff:
    """The difference between two images' packages; each list has a package once per architecture.

    A package whose architecture changed too (a script rewritten in C is no longer `all`) counts as up- or downgraded.
    """
    before, after = ({_key(package): package for package in packages} for packages in (old, new))
    moved = list(_moved(before, after))
    pairs = [*((before[key], after[key]) for key in before.keys() & after.keys()), *moved]
    gone = before.keys() - after.keys() - {_key(one) for one, _ in moved}
    come = after.keys() - before.keys() - {_key(other) for _, other in moved}
    pairs.sort(key=lambda pair: _key(pair[1]))
    return PackageDiff(
        added=tuple(after[key] for key in sorted(come)),
        removed=tuple(before[key] for key in sorted(gone)),
        upgraded=tuple(PackageChange(old=one, new=other) for one, other in pairs if _order(one, other) > 0),
        downgraded=tuple(PackageChange(old=one, new=other) for one, other in pairs if _order(one, other) < 0),
        old_kib=sum(package.installed_kib for package in before.values()),
        new_kib=sum(package.installed_kib for package in after.values()),
    )


def summary(diff: PackageDiff) -> Markdown:
    """The difference in one line."""
    parts = {"added": diff.added, "removed": diff.removed, "upgraded": diff.upgraded, "downgraded": diff.downgraded}
    counts = counted({what: len(packages) for what, packages in parts.items()}) or Markdown("the same packages")
    return Markdown("{}; installed size {} ({})").format(counts, mebibytes(diff.new_kib), size_change(diff))


def size_change(diff: PackageDiff) -> Markdown:
    """By how much more or less all packages take."""
    return change(diff.old_kib / 1024, diff.new_kib / 1024, "MiB")


def parts(diff: PackageDiff) -> tuple[TitledTable, ...]:
    """The difference as tables, also those that are empty."""
    return (
        TitledTable("Added", ("package", "version", "installed size"), list(map(_package_row, diff.added))),
        TitledTable("Removed", ("package", "version", "installed size"), list(map(_package_row, diff.removed))),
        TitledTable("Downgraded", ("package", "from", "to"), list(map(_change_row, diff.downgraded))),
        TitledTable("Upgraded", ("package", "from", "to"), list(map(_change_row, diff.upgraded))),
    )


def markdown(diff: PackageDiff, rows: int) -> Markdown:
    """The difference as tables of at most `rows` rows in all, with a line that tells how many are missing."""
    blocks = []
    left = rows
    for part in parts(diff):
        if shown := part.rows[:left]:
            blocks.append(part.titled(left))
        left -= len(shown)
    if missing := sum(len(part.rows) for part in parts(diff)) - (rows - left):
        told = Markdown("{} more row is not shown here." if missing == 1 else "{} more rows are not shown here.")
        blocks.append(told.format(missing))
    return BLOCKS.join(blocks)


def _key(package: Package) -> tuple[str, str]:
    return package.name, package.architecture


def _moved(before: ByKey, after: ByKey) -> Iterator[tuple[Package, Package]]:
    gone = [before[key] for key in before.keys() - after.keys()]
    come = {package.name: package for key, package in after.items() if key not in before}
    gone_names = Counter(package.name for package in gone)
    come_names = Counter(name for name, architecture in after.keys() - before.keys())
    for package in gone:
        other = come.get(package.name)
        if other and gone_names[package.name] == come_names[package.name] == 1 and _order(package, other):
            yield package, other


def _order(old: Package, new: Package) -> int:
    one, other = Version(old.version), Version(new.version)
    return (other > one) - (other < one)


def _package_row(package: Package) -> tuple[str, ...]:
    return (_name(package), package.version, mebibytes(package.installed_kib))


def _change_row(item: PackageChange) -> tuple[str, ...]:
    return (_name(item.new), item.old.version, item.new.version)


def _name(package: Package) -> str:
    # As apt and dpkg write it where it is not the machine's own architecture.
    return package.name if package.architecture in {"amd64", "all"} else f"{package.name}:{package.architecture}"
