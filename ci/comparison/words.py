"""The difference between two images in words: for a terminal, and as Markdown."""

from collections.abc import Iterator, Sequence

from ci.comparison import packages
from ci.comparison.difference import Difference, Facts, SetChanges
from ci.records.packages import Growth
from ci.text.figures import change, counted, mebibytes, megabytes, seconds
from ci.text.markdown import BLOCKS, Markdown, first
from ci.text.table import TitledTable

NAMES = 12
GROWTH_ROWS = 10
UNKNOWN, UNCHANGED, CHANGED = Markdown("-"), Markdown("unchanged"), Markdown("changed")


def text(found: Difference) -> str:
    """The difference for a terminal."""
    sections = [f"{section.title}\n{section.text()}" for section in _sections(found)]
    blocks = (_overview(found).text(), *sections, "\n".join(_remarks(found)))
    return "\n\n".join(filter(None, blocks)) + "\n"


def markdown(found: Difference) -> Markdown:
    """The difference as Markdown."""
    title = Markdown("### {} to {}").format(found.old.source, found.new.source)
    sections = [section.titled() for section in _sections(found)]
    return BLOCKS.join([title, _overview(found).markdown(), *sections, *_remarks(found)])


def configuration(found: Difference) -> Iterator[TitledTable]:
    """What differs in the files that an image is made of, and in who may log in; sections that have rows."""
    for title, what, changes in (("Configuration", "file", found.files), ("Keys", "key that may log in", found.keys)):
        if changes is not None and not changes.empty:
            rows = [(Markdown(part), name) for part, names in changes.parts.items() for name in names]
            yield TitledTable(title, ("", what), rows)


def checks(found: Difference) -> TitledTable:
    """The checks that end otherwise than before."""
    rows = [
        (one.boot, one.id, *(UNKNOWN if outcome is None else Markdown(outcome) for outcome in (one.old, one.new)))
        for one in found.checks or ()
    ]
    return TitledTable("Checks", ("boot", "check", "before", "after"), rows)


def configuration_summary(changed: bool | None, files: SetChanges | None) -> Markdown:  # noqa: FBT001 - a fact
    """Whether the files that an image is made of differ, and which."""
    if changed is None:
        return Markdown("not known")
    if not changed:
        return UNCHANGED
    if files is None:
        return CHANGED
    if files.empty:
        return Markdown("changed (who may run a file)")
    names = [name for names in files.parts.values() for name in names]
    return Markdown("changed ({}: {})").format(set_summary(files), first(names, NAMES))


def set_summary(changes: SetChanges) -> Markdown:
    """How many were added, removed, changed."""
    return counted({what: len(names) for what, names in changes.parts.items()}) or Markdown("unchanged")


def _overview(found: Difference) -> TitledTable:
    old, new = found.old, found.new
    rows: list[Sequence[str]] = [
        ("image", _title(old), _title(new), UNKNOWN),
        _row("commit", old.commit and old.commit[:12], new.commit and new.commit[:12]),
        _row("base image", _base(old), _base(new)),
        _row("kernel", old.kernel, new.kernel),
        ("image file", *_sizes(old.image_bytes, new.image_bytes)),
    ]
    if diff := found.packages:
        sizes = (mebibytes(diff.old_kib), mebibytes(diff.new_kib))
        rows.append((Markdown("installed size"), *sizes, packages.size_change(diff)))
    return TitledTable("", ("", "before", "after", "change"), [(Markdown(what), *rest) for what, *rest in rows])


def _title(facts: Facts) -> str:
    return f"{facts.name} {facts.version}" if facts.name else facts.source


def _base(facts: Facts) -> str | None:
    return f"{facts.base_url} ({facts.base_sha256[:12]})" if facts.base_sha256 else None


def _row(what: str, old: str | None, new: str | None) -> Sequence[str]:
    known = old is not None and new is not None
    changed = (UNCHANGED if old == new else CHANGED) if known else UNKNOWN
    return (what, UNKNOWN if old is None else old, UNKNOWN if new is None else new, changed)


def _sizes(old: int | None, new: int | None) -> Sequence[str]:
    sizes = [UNKNOWN if size is None else megabytes(size) for size in (old, new)]
    changed = UNKNOWN if old is None or new is None else change(old / 1e6, new / 1e6, "MB")
    return (*sizes, changed)


def _sections(found: Difference) -> Iterator[TitledTable]:
    """All further tables that have rows."""
    if found.packages:
        for part in packages.parts(found.packages):
            if part.rows:
                yield TitledTable(f"Packages {part.title.lower()}", part.columns, part.rows)
    if found.growth:
        yield _growth(found.growth)
    yield from configuration(found)
    if found.checks:
        yield checks(found)
    if found.boots:
        yield TitledTable(
            Markdown("Start to SSH, with {}").format(found.new.accelerator or ""),
            ("boot", "before", "after", "change"),
            [(one.boot, seconds(one.old), seconds(one.new), change(one.old, one.new, "s")) for one in found.boots],
        )


def _growth(growth: Sequence[Growth]) -> TitledTable:
    largest = sorted(growth, key=lambda one: -abs(one.kib))[:GROWTH_ROWS]
    rows = []
    for one in sorted(largest, key=lambda one: -one.kib):
        changed = change(one.old_kib / 1024, one.new_kib / 1024, "MiB")
        rows.append((one.package, mebibytes(one.old_kib), mebibytes(one.new_kib), changed))
    return TitledTable("Packages that grew or shrank most", ("package", "before", "after", "change"), rows)


def _remarks(found: Difference) -> Iterator[Markdown]:
    """What no table tells."""
    if found.same:
        yield Markdown("Nothing that could be compared differs, but for sizes and times.")
    if found.packages is None:
        yield Markdown("Packages: not compared, a list is missing.")
    elif found.packages.empty:
        yield Markdown("Packages: the same.")
    if found.files is None or (found.definition_changed and found.files.empty):
        yield Markdown("Configuration: {}.").format(configuration_summary(found.definition_changed, found.files))
    elif found.files.empty:
        yield Markdown("Configuration: unchanged.")
    if found.checks is None:
        yield Markdown("Checks: not compared, a report of a boot test is missing.")
    if found.boots is None:
        one, other = found.old.accelerator, found.new.accelerator
        why = Markdown("tested with {} and with {}" if one and other else "a boot test is missing").format(one, other)
        yield Markdown("Time to start: not compared, {}.").format(why)
