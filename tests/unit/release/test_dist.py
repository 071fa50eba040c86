from collections.abc import Callable
from pathlib import Path

import pytest

from ci.host.errors import InputError, RefusedError, ToolsmithError, VerificationError
from ci.records.build import BuildRecord, Verification
from ci.records.validation import Outcome, ValidationReport
from ci.records.version import Version
from ci.release.dist import ASSET_LIMIT, read_dist
from tests.support.releasing import COMMIT, PACKAGES, TAG, make_dist, sbom

STEM = f"fountainkit-toolsmith-debian-12-{TAG}"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    return make_dist(tmp_path / "dist")


def change_build(dist: Path, change: Callable[[BuildRecord], dict[str, object]]) -> None:
    path = dist / f"{STEM}.build.json"
    record = BuildRecord.model_validate_json(path.read_bytes())
    record.model_copy(update=change(record)).write(path)


def change_report(dist: Path, change: Callable[[ValidationReport], dict[str, object]]) -> None:
    path = dist / f"{STEM}.validation.json"
    report = ValidationReport.model_validate_json(path.read_bytes())
    report.model_copy(update=change(report)).write(path)


def refusal(dist: Path) -> ToolsmithError:
    with pytest.raises(ToolsmithError) as failure:
        read_dist(dist, version=Version.parse(TAG))
    return failure.value


def test_an_image_that_was_built_and_tested_is_read_with_all_its_files(dist: Path) -> None:
    (image,) = read_dist(dist, version=None)
    assert image.build.commit == COMMIT
    assert image.qcow2.name == f"{STEM}.qcow2"
    assert {file.name.removeprefix(STEM) for file in image.files} == {
        ".qcow2", ".qcow2.sha256", ".packages.tsv", ".cdx.json", ".build.json",
        ".validation.json", ".validation.xml", ".validation.md", ".console.png",
    }  # fmt: skip


def test_an_sbom_of_another_image_is_refused(dist: Path) -> None:
    (dist / f"{STEM}.cdx.json").write_text(sbom(STEM, "e" * 64, PACKAGES))
    assert isinstance(refusal(dist), VerificationError)


def test_an_sbom_that_is_none_is_refused(dist: Path) -> None:
    (dist / f"{STEM}.cdx.json").write_text("{}")
    failure = refusal(dist)
    assert isinstance(failure, InputError)
    assert f"{STEM}.cdx.json" in failure.message


def test_builds_of_other_versions_in_the_folder_are_left_alone(dist: Path) -> None:
    make_dist(dist, tag="v2026.11.22", image=b"older")
    (image,) = read_dist(dist, version=Version.parse(TAG))
    assert image.build.version == TAG


def test_several_versions_without_a_tag_are_a_question(dist: Path) -> None:
    make_dist(dist, tag="v2026.11.22", image=b"older")
    with pytest.raises(InputError, match=r"v2026\.11\.22, v2026\.11\.23"):
        read_dist(dist, version=None)


def test_images_of_one_version_are_released_together(dist: Path) -> None:
    make_dist(dist, distribution="ubuntu-2204", definition="jammy", image=b"another")
    assert [image.build.definition for image in read_dist(dist, version=None)] == ["bookworm", "jammy"]


def test_images_of_different_commits_are_not(dist: Path) -> None:
    make_dist(dist, distribution="ubuntu-2204", definition="jammy", image=b"another", commit="f" * 40)
    assert isinstance(refusal(dist), RefusedError)


def test_an_empty_folder_says_how_to_build(tmp_path: Path) -> None:
    assert "make image" in refusal(tmp_path).hint


def test_a_tag_that_the_image_does_not_carry_is_refused(dist: Path) -> None:
    with pytest.raises(RefusedError, match=r"the tag is v2026\.11\.24, the build .* is v2026\.11\.23"):
        read_dist(dist, version=Version.parse("v2026.11.24"))


@pytest.mark.parametrize("suffix", [".qcow2", ".qcow2.sha256", ".packages.tsv", ".cdx.json", ".console.png"])
def test_a_missing_file_is_named(dist: Path, suffix: str) -> None:
    (dist / f"{STEM}{suffix}").unlink()
    failure = refusal(dist)
    assert isinstance(failure, InputError)
    assert f"{STEM}{suffix}" in failure.message


def test_an_image_that_changed_after_the_build_is_refused(dist: Path) -> None:
    (dist / f"{STEM}.qcow2").write_bytes(b"QFI\xfb the IMAGE")
    failure = refusal(dist)
    assert isinstance(failure, VerificationError)
    assert "is not the file that was built" in failure.message


def test_an_image_other_than_the_tested_one_is_refused(dist: Path) -> None:
    change_report(dist, lambda _: {"image_sha256": "e" * 64})
    failure = refusal(dist)
    assert isinstance(failure, VerificationError)
    assert "boot test was of" in failure.message


def test_a_checksum_file_for_other_bytes_is_refused(dist: Path) -> None:
    (dist / f"{STEM}.qcow2.sha256").write_text(f"{'e' * 64}  {STEM}.qcow2\n")
    assert isinstance(refusal(dist), VerificationError)


def test_a_checksum_file_for_another_name_is_refused(dist: Path) -> None:
    path = dist / f"{STEM}.qcow2.sha256"
    path.write_text(path.read_text().replace(f"{STEM}.qcow2", "../../etc/passwd"))
    assert isinstance(refusal(dist), VerificationError)


def test_a_shortened_package_list_is_refused(dist: Path) -> None:
    path = dist / f"{STEM}.packages.tsv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert isinstance(refusal(dist), VerificationError)


def test_an_image_that_failed_its_boot_test_is_refused(dist: Path) -> None:
    change_report(dist, lambda report: {"checks": [report.checks[0].model_copy(update={"outcome": Outcome.FAILED})]})
    failure = refusal(dist)
    assert isinstance(failure, RefusedError)
    assert "failed image-json" in failure.message


def test_a_report_that_says_failed_is_believed(dist: Path) -> None:
    change_report(dist, lambda _: {"passed": False})
    assert isinstance(refusal(dist), RefusedError)


def test_a_boot_test_without_all_boots_is_none(dist: Path) -> None:
    change_report(dist, lambda report: {"boots": report.boots[:2]})
    assert "lacks consumer, seed" in refusal(dist).message


@pytest.mark.parametrize("outcome", [None, Outcome.SKIPPED])
def test_a_boot_test_that_did_not_compare_the_identity_is_none(dist: Path, outcome: Outcome | None) -> None:
    change_report(
        dist,
        lambda report: {
            "checks": [report.checks[0].model_copy(update={"outcome": outcome})] if outcome else report.checks[1:]
        },
    )
    assert isinstance(refusal(dist), RefusedError)


def test_a_base_that_nothing_vouches_for_is_refused(dist: Path) -> None:
    change_build(dist, lambda build: {"base": build.base.model_copy(update={"verification": Verification.NONE})})
    failure = refusal(dist)
    assert isinstance(failure, RefusedError)
    assert "BASE_IMAGE_SHA256" in failure.hint


def test_uncommitted_changes_are_refused_unless_allowed(dist: Path) -> None:
    change_build(dist, lambda _: {"dirty": True})
    assert isinstance(refusal(dist), RefusedError)
    assert read_dist(dist, version=None, allow_dirty=True)


def test_an_image_of_two_gibibytes_is_refused(dist: Path) -> None:
    change_build(dist, lambda build: {"image": build.image.model_copy(update={"size": ASSET_LIMIT + 1})})
    failure = refusal(dist)
    assert isinstance(failure, RefusedError)
    assert "under 2 GiB" in failure.message


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../etc/passwd"},
        {"distribution": "../x"},
        {"distribution": "ubuntu-2204"},
        {"version": "v2026.11.23/../.."},
    ],
)
def test_a_record_that_names_something_else_is_refused(dist: Path, change: dict[str, object]) -> None:
    change_build(dist, lambda _: change)
    with pytest.raises((InputError, RefusedError)):
        read_dist(dist, version=None)


def test_a_record_whose_image_is_elsewhere_is_refused(dist: Path) -> None:
    change_build(dist, lambda build: {"image": build.image.model_copy(update={"file": "/etc/passwd"})})
    assert isinstance(refusal(dist), InputError)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "fountainkit-toolsmith-image/build/2"}'])
def test_a_record_that_is_none_is_refused(dist: Path, text: str) -> None:
    (dist / f"{STEM}.build.json").write_text(text)
    assert isinstance(refusal(dist), InputError)
