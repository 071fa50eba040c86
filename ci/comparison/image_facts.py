"""What is known of an image, wherever it is known from, and how it differs from another."""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ci.comparison.difference import BootChange, CheckChange, Difference, Facts, SetChanges
from ci.comparison.packages import compare
from ci.host.files import read_bounded
from ci.records import artifacts
from ci.records.build import BuildRecord
from ci.records.packages import Package, growth, parse_packages
from ci.records.published import require_bytes
from ci.records.record import MAX_BYTES, parse_record, read_record
from ci.records.release import AssetRecord, ImageRelease, ReleaseRecord
from ci.records.validation import CheckResult, Outcome, ValidationReport

A = TypeVar("A")
B = TypeVar("B")
Read = Callable[[AssetRecord], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedImage:
    """An image. What is None its source does not tell; `starts` are seconds to SSH by the name of the boot."""

    facts: Facts
    packages: tuple[Package, ...] | None = None
    definition_sha256: str | None = None
    inputs: Mapping[str, str] | None = None
    keys: tuple[str, ...] | None = None
    starts: Mapping[str, float] = field(default_factory=dict)
    checks: tuple[CheckResult, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the build of an image left, and its boot test where that came to an end."""

    build: BuildRecord
    packages: tuple[Package, ...] | None
    report: ValidationReport | None


def read_build(path: Path) -> Evidence:
    """A build by its record, with what lies beside it; raises InputError where a file is not what its name says."""
    listed, tested = (artifacts.beside(path, ending) for ending in (artifacts.PACKAGES, artifacts.REPORT))
    return Evidence(
        build=read_record(path, BuildRecord),
        packages=parse_packages(read_bounded(listed, MAX_BYTES), str(listed)) if listed.is_file() else None,
        report=read_record(tested, ValidationReport) if tested.is_file() else None,
    )


def of_build(source: str, found: Evidence) -> ComparedImage:
    """A build, with its boot test where there was one."""
    build, report = found.build, found.report
    boots = report.boots if report else ()
    return ComparedImage(
        facts=Facts(
            source=source,
            name=build.name.removesuffix(f"-{build.version}"),
            version=build.version,
            commit=build.commit,
            base_url=build.base.url,
            base_sha256=build.base.sha256,
            kernel=build.kernel,
            image_bytes=build.image.size,
            accelerator=report.accelerator if report else None,
        ),
        packages=found.packages,
        definition_sha256=build.definition_sha256,
        inputs=build.inputs,
        keys=tuple(build.authorized_keys),
        starts={boot.name: boot.ssh_seconds for boot in boots if boot.ssh_seconds is not None},
        checks=tuple(report.checks) if report else None,
    )


def of_release(source: str, record: ReleaseRecord, image: ImageRelease, read: Read) -> ComparedImage:
    """One image of a release; `read` fetches its files. Raises VerificationError where one is not what was released."""

    def parsed(ending: str, parse: Callable[[bytes, str], A]) -> A | None:
        asset = image.file(ending)
        return None if asset is None else parse(require_bytes(read(asset), asset), asset.name)

    packages = parsed(artifacts.PACKAGES, parse_packages)
    report = parsed(artifacts.REPORT, lambda data, name: parse_record(data, ValidationReport, name))
    build = parsed(artifacts.BUILD, lambda data, name: parse_record(data, BuildRecord, name))
    return ComparedImage(
        facts=Facts(
            source=source,
            name=image.name,
            version=record.tag,
            commit=record.commit,
            base_url=image.base.url,
            base_sha256=image.base.sha256,
            kernel=image.kernel,
            image_bytes=image.qcow2.size,
            accelerator=image.validation.accelerator,
        ),
        packages=packages,
        definition_sha256=image.definition_sha256,
        inputs=image.inputs,
        keys=tuple(build.authorized_keys) if build else None,
        starts=image.validation.ssh_seconds,
        checks=tuple(report.checks) if report else None,
    )


def of_packages(source: str, packages: tuple[Package, ...]) -> ComparedImage:
    """A list of packages, and nothing else."""
    return ComparedImage(facts=Facts(source=source), packages=packages)


def difference(old: ComparedImage, new: ComparedImage) -> Difference:
    """What became of `old` in `new`; what one of them does not tell is not compared."""
    packages = _both(compare, old.packages, new.packages)
    definition_changed = _both(operator.ne, old.definition_sha256, new.definition_sha256)
    files = file_changes(old.inputs, new.inputs)
    keys = _both(_set_changes, _keyed(old.keys), _keyed(new.keys))
    checks = _both(check_changes, old.checks, new.checks)
    base_changed = _both(operator.ne, old.facts.base_sha256, new.facts.base_sha256)
    kernel_changed = _both(operator.ne, old.facts.kernel, new.facts.kernel)
    return Difference(
        same=not (definition_changed or base_changed or kernel_changed or checks)
        and all(part is None or part.empty for part in (packages, files, keys)),
        old=old.facts,
        new=new.facts,
        packages=packages,
        growth=_both(growth, old.packages, new.packages) or (),
        definition_changed=definition_changed,
        files=files,
        keys=keys,
        checks=checks,
        boots=_boot_changes(old, new),
    )


def file_changes(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> SetChanges | None:
    """Which files differ, by their digests; None where one side has none."""
    return _both(_set_changes, old, new)


def check_changes(old: Iterable[CheckResult], new: Iterable[CheckResult]) -> tuple[CheckChange, ...]:
    """The checks that end otherwise, or are in one report only; those that fail now come first."""
    before, after = _worst(old), _worst(new)
    found = (
        CheckChange(boot=key[0], id=key[1], old=before.get(key), new=after.get(key))
        for key in before.keys() | after.keys()
        if before.get(key) is not after.get(key)
    )
    return tuple(sorted(found, key=lambda one: (one.new is not Outcome.FAILED, one.boot, one.id)))


def _both(compared: Callable[[A, A], B], old: A | None, new: A | None) -> B | None:
    return None if old is None or new is None else compared(old, new)


def _keyed(keys: Iterable[str] | None) -> dict[str, str] | None:
    return None if keys is None else dict.fromkeys(keys, "")


def _set_changes(old: Mapping[str, str], new: Mapping[str, str]) -> SetChanges:
    return SetChanges(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(sorted(name for name in old.keys() & new.keys() if old[name] != new[name])),
    )


def _worst(checks: Iterable[CheckResult]) -> dict[tuple[str, str], Outcome]:
    """How each check ended; of one that comes several times in a boot, a failure counts."""
    found: dict[tuple[str, str], Outcome] = {}
    for check in checks:
        if found.get((check.boot, check.id)) is not Outcome.FAILED:
            found[check.boot, check.id] = check.outcome
    return found


def _boot_changes(old: ComparedImage, new: ComparedImage) -> tuple[BootChange, ...] | None:
    """Times with different accelerators tell nothing about the images."""
    if old.facts.accelerator is None or old.facts.accelerator != new.facts.accelerator:
        return None
    return tuple(
        BootChange(boot=boot, old=old.starts[boot], new=seconds)
        for boot, seconds in new.starts.items()
        if boot in old.starts
    )
