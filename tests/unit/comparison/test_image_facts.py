import hashlib
from collections.abc import Mapping
from typing import Any

import pytest

from ci.comparison.difference import SetChanges
from ci.comparison.image_facts import (
    ComparedImage,
    Evidence,
    check_changes,
    difference,
    of_build,
    of_packages,
    of_release,
)
from ci.host.errors import InputError, VerificationError
from ci.records.build import BuildRecord
from ci.records.packages import Package, to_tsv
from ci.records.release import AssetRecord, ImageRelease, ReleaseRecord, ValidationSummary
from ci.records.validation import CheckResult, Outcome, ValidationReport
from tests.support.releasing import COMMIT, PACKAGES, TAG, build_record, validation_report

GIT = Package(name="git", version="1:2.40", architecture="amd64", installed_kib=60_000)
URL = "https://github.com/o/r/releases"


def built(
    source: str, record: BuildRecord, packages: tuple[Package, ...] | None, report: ValidationReport | None
) -> ComparedImage:
    return of_build(source, Evidence(build=record, packages=packages, report=report))


def build(accelerator: str = "tcg", seconds: float = 20.0, **changes: Any) -> ComparedImage:  # noqa: ANN401 - the fields of BuildRecord
    record = build_record(**changes)
    report = validation_report(record, accelerator=accelerator)
    boots = [boot.model_copy(update={"ssh_seconds": seconds}) for boot in report.boots]
    return built("a build", record, PACKAGES, report.model_copy(update={"boots": boots}))


def check(name: str, outcome: Outcome = Outcome.PASSED, boot: str = "full") -> CheckResult:
    return CheckResult(id=name, boot=boot, title="t", expected="x", actual="x", outcome=outcome, seconds=0.1)


def test_two_builds_of_the_same_are_the_same_though_sizes_and_times_differ() -> None:
    image = build_record().image.model_copy(update={"size": 5, "sha256": "5" * 64})
    found = difference(build(), build(seconds=30.0, version="v2026.11.24", image=image))
    assert found.same
    assert (found.old.image_bytes, found.new.image_bytes) == (1, 5)
    assert found.boots is not None
    assert [(one.boot, one.old, one.new) for one in found.boots][:1] == [("full", 20.0, 30.0)]


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel": "6.1.0-2-amd64"},
        {"authorized_keys": ["SHA256:other"]},
        {"definition_sha256": "e" * 64},
        {"base": build_record().base.model_copy(update={"sha256": "e" * 64})},
    ],
)
def test_what_an_image_is_made_of_makes_it_another_one(changes: dict[str, Any]) -> None:
    assert not difference(build(), build(**changes)).same


def test_other_packages_make_another_image_and_tell_what_grew() -> None:
    found = difference(of_packages("a", PACKAGES), of_packages("b", (PACKAGES[0], GIT)))
    assert not found.same
    assert [(one.package, one.kib) for one in found.growth] == [("git", 20_000)]
    assert found.packages is not None
    assert [item.new.version for item in found.packages.upgraded] == ["1:2.40"]


def test_times_with_another_accelerator_are_not_compared() -> None:
    assert difference(build("tcg"), build("kvm")).boots is None
    assert difference(build("kvm"), build("kvm")).boots


def test_what_one_side_does_not_tell_is_not_compared_and_makes_no_difference() -> None:
    for found in (
        difference(build(), of_packages("b", PACKAGES)),
        difference(of_packages("a", PACKAGES), build()),
    ):
        assert found.same
        parts = (found.definition_changed, found.files, found.keys, found.checks, found.boots)
        assert parts == (None,) * 5
        assert found.packages is not None
        assert found.packages.empty


def test_files_are_told_apart_by_their_digests() -> None:
    old, new = {"a": "1" * 64, "b": "2" * 64, "c": "3" * 64}, {"b": "2" * 64, "c": "4" * 64, "d": "1" * 64}
    found = difference(build(inputs=old), build(inputs=new))
    assert found.files == SetChanges(added=("d",), removed=("a",), changed=("c",))


def test_checks_that_fail_now_come_first_and_unchanged_ones_are_left_out() -> None:
    old = [check("a", Outcome.FAILED), check("b"), check("c"), check("gone"), check("same"), check("d", boot="seed")]
    new = [
        check("a"), check("b", Outcome.SKIPPED), check("c", Outcome.FAILED), check("new"), check("same"),
        check("d", Outcome.FAILED, "seed"),
    ]  # fmt: skip
    assert [(one.boot, one.id, one.old, one.new) for one in check_changes(old, new)] == [
        ("full", "c", "passed", "failed"),
        ("seed", "d", "passed", "failed"),
        ("full", "a", "failed", "passed"),
        ("full", "b", "passed", "skipped"),
        ("full", "gone", "passed", None),
        ("full", "new", None, "passed"),
    ]


def test_of_a_check_that_comes_twice_a_failure_counts() -> None:
    twice = [check("a", Outcome.FAILED), check("a")]
    assert [(one.old, one.new) for one in check_changes([check("a")], twice)] == [("passed", "failed")]


def release(files: Mapping[str, bytes]) -> ReleaseRecord:
    record = build_record()
    stem = record.name

    def asset(ending: str, data: bytes) -> AssetRecord:
        digest = hashlib.sha256(data).hexdigest()
        return AssetRecord(
            name=f"{stem}{ending}", sha256=digest, size=len(data), url=f"{URL}/download/{TAG}/{stem}{ending}"
        )

    qcow2 = asset(".qcow2", b"x")
    image = ImageRelease(
        name=stem.removesuffix(f"-{TAG}"), definition="bookworm", definition_sha256="d" * 64, inputs={"a": "1" * 64},
        distribution="debian-12", built_at=record.built_at, base=record.base, kernel=record.kernel, packages=2,
        qcow2=qcow2, virtual_size=1, assets=[qcow2, *(asset(ending, data) for ending, data in files.items())],
        validation=ValidationSummary(passed=2, skipped=0, accelerator="tcg", ssh_seconds={"full": 19.0}),
        attestation=None,
    )  # fmt: skip
    return ReleaseRecord(
        tag=TAG, repository="o/r", url=f"{URL}/tag/{TAG}", commit=COMMIT, run=None, previous=None, changes=None,
        image=image, others=[], ensure_vm=asset(".pyz", b"z"),
    )  # fmt: skip


def files() -> dict[str, bytes]:
    record = build_record(authorized_keys=["SHA256:key"])
    return {
        ".packages.tsv": to_tsv(PACKAGES).encode(),
        ".validation.json": validation_report(record).to_json().encode(),
        ".build.json": record.to_json().encode(),
    }


def released(there: Mapping[str, bytes], listed: Mapping[str, bytes] | None = None) -> ComparedImage:
    record = release(there if listed is None else listed)
    by_url = {f"{URL}/download/{TAG}/{build_record().name}{ending}": data for ending, data in there.items()}
    return of_release(TAG, record, record.image, lambda asset: by_url[asset.url])


def test_a_release_tells_as_much_as_the_build_it_was_made_of() -> None:
    found = difference(released(files()), build(inputs={"a": "1" * 64}, authorized_keys=["SHA256:key"]))
    assert found.same
    assert found.keys is not None
    assert found.checks == ()
    assert found.boots is not None
    assert [(one.boot, one.old, one.new) for one in found.boots] == [("full", 19.0, 20.0)]


def test_of_a_release_without_further_files_its_record_is_compared() -> None:
    found = difference(released({}), build())
    assert (found.packages, found.keys, found.checks) == (None, None, None)
    assert found.definition_changed is False
    assert found.boots


@pytest.mark.parametrize("ending", list(files()))
def test_a_file_that_is_not_what_was_released_is_refused(ending: str) -> None:
    with pytest.raises(VerificationError, match="is not what was released"):
        released(files() | {ending: files()[ending] + b"\n"}, files())


def test_a_file_that_was_released_broken_is_named() -> None:
    with pytest.raises(InputError, match=r"packages.tsv is not a list of packages: line 1: it is not text"):
        released(files() | {".packages.tsv": b"\xff\xfe"})
    with pytest.raises(InputError, match=r"validation.json is not a validation report"):
        released(files() | {".validation.json": b"{}"})
