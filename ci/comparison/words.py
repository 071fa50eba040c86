"""The difference between two images in words: for a terminal, and as Markdown."""

from collections.abc import Iterator, Sequence

from ci.comparison import packages
from ci.comparison.difference import Difference, Facts, SetChanges
from ci.records.packages import Growth
from ci.text.figures import change, mebibytes, megabytes, seconds
from ci.text.markdown import Markdown, code
from ci.text.table import TitledTable

NAMES = 12
GROWTH_ROWS = 10
UNKNOWN = Markdown("-")


def text(found: Difference) -> str:
    """The difference for a terminal."""
    sections = [f"{section.title}\n{section.text()}" for section in _sections(found)]
    blocks = (_overview(found).text(), *sections, "\n".join(_remarks(found)))
    return "\n\n".join(filter(None, blocks)) + "\n"


def markdown(found: Difference) -> str:
    """The difference as Markdown."""
    blocks = [f"### {code(found.old.source)} to {code(found.new.source)}", _overview(found).markdown()]
    blocks += [f"{section.title}:\n\n{section.markdown()}" for section in _sections(found)]
    blocks += _remarks(found)
    return "\n\n".join(blocks) + "\n"


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
        return Markdown("unchanged")
    if files is None:
        return Markdown("changed")
    if files.empty:
        return Markdown("changed (who may run a file)")
    named = [code(name) for names in files.parts.values() for name in names]
    more = f" and {len(named) - NAMES} more" if len(named) > NAMES else ""
    return Markdown(f"changed ({set_summary(files)}: {', '.join(named[:NAMES])}{more})")


def set_summary(changes: SetChanges) -> str:
    """How many were added, removed, changed."""
    return ", ".join(f"{len(names)} {what}" for what, names in changes.parts.items()) or "unchanged"


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
        sizes = (Markdown(mebibytes(diff.old_kib)), Markdown(mebibytes(diff.new_kib)))
        rows.append((Markdown("installed size"), *sizes, Markdown(packages.size_change(diff))))
    return TitledTable("", ("", "before", "after", "change"), [(Markdown(what), *rest) for what, *rest in rows])


def _title(facts: Facts) -> str:
    return f"{facts.name} {facts.version}" if facts.name else facts.source


def _base(facts: Facts) -> str | None:
    return f"{facts.base_url} ({facts.base_sha256[:12]})" if facts.base_sha256 else None


def _row(what: str, old: str | None, new: str | None) -> Sequence[str]:
    known = old is not None and new is not None
    changed = Markdown(("unchanged" if old == new else "changed") if known else UNKNOWN)
    return (what, UNKNOWN if old is None else old, UNKNOWN if new is None else new, changed)


def _sizes(old: int | None, new: int | None) -> Sequence[str]:
    sizes = [UNKNOWN if size is None else Markdown(megabytes(size)) for size in (old, new)]
    changed = UNKNOWN if old is None or new is None else Markdown(change(old / 1e6, new / 1e6, "MB"))
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
            f"Start to SSH, with {code(found.new.accelerator or '')}",
            ("boot", "before", "after", "change"),
            [
                (one.boot, *map(Markdown, (seconds(one.old), seconds(one.new), change(one.old, one.new, "s"))))
                for one in found.boots
            ],
        )


def _growth(growth: Sequence[Growth]) -> TitledTable:
    largest = sorted(growth, key=lambda one: -abs(one.kib))[:GROWTH_ROWS]
    rows = []
    for one in sorted(largest, key=lambda one: -one.kib):
        changed = change(one.old_kib / 1024, one.new_kib / 1024, "MiB")
        rows.append((one.package, *map(Markdown, (mebibytes(one.old_kib), mebibytes(one.new_kib), changed))))
    return TitledTable("Packages that grew or shrank most", ("package", "before", "after", "change"), rows)


def _remarks(found: Difference) -> Iterator[str]:
    """What no table tells."""
    if found.same:
        yield "Nothing that could be compared differs, but for sizes and times."
    if found.packages is None:
        yield "Packages: not compared, a list is missing."
    elif found.packages.empty:
        yield "Packages: the same."
    if found.files is None or (found.definition_changed and found.files.empty):
        yield f"Configuration: {configuration_summary(found.definition_changed, found.files)}."
    elif found.files.empty:
        yield "Configuration: unchanged."
    if found.checks is None:
        yield "Checks: not compared, a report of a boot test is missing."
    if found.boots is None:
        one, other = found.old.accelerator, found.new.accelerator
        why = f"tested with {code(one)} and with {code(other)}" if one and other else "a boot test is missing"
        yield f"Time to start: not compared, {why}."
