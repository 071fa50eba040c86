"""From the reports of the images' jobs to digests, and from downloaded files back to them."""

import argparse
import json
from pathlib import Path

import pytest

from ci.host.errors import InputError, RefusedError, VerificationError
from ci.records.record import read_record
from ci.records.validation import ValidationReport
from ci.workflow import collect_images, verify_images
from ci.workflow.collect_images import parse_images
from tests.support.quiet import quiet_reporter
from tests.support.releasing import COMMIT, TAG, make_dist

ENVIRON = {"GITHUB_SHA": COMMIT}
STEM = f"fountainkit-toolsmith-debian-12-{TAG}"
SECOND = f"fountainkit-toolsmith-second-{TAG}"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = make_dist(tmp_path / "dist")
    return make_dist(folder, distribution="second", definition="second")


def parsed(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return {lines[at].partition("<<")[0]: lines[at + 1] for at in range(0, len(lines), 3)}


def collect(folder: Path, *images: str, version: str = TAG, commit: str = COMMIT) -> dict[str, dict[str, str]]:
    output = folder.parent / "output"
    output.write_text("")
    options = collect_images.arguments().parse_args(
        ["--dist", str(folder), "--images", json.dumps(images), "--version", version]
    )
    collect_images.main(options, quiet_reporter(), environ={"GITHUB_SHA": commit, "GITHUB_OUTPUT": str(output)})
    digests: dict[str, dict[str, str]] = json.loads(parsed(output)["digests"])
    return digests


def verify(folder: Path, digests: object, *argv: str) -> dict[str, str]:
    output = folder.parent / "output"
    output.write_text("")
    options: argparse.Namespace = verify_images.arguments().parse_args(
        ["--dist", str(folder), "--digests", json.dumps(digests), *argv]
    )
    verify_images.main(options, quiet_reporter(), environ={"GITHUB_OUTPUT": str(output)})
    return parsed(output)


def test_every_file_of_every_image_is_handed_on_and_found_again(dist: Path) -> None:
    digests = collect(dist, "bookworm", "second")
    assert set(digests) == {"bookworm", "second"}
    assert {name for files in digests.values() for name in files} == {path.name for path in dist.iterdir()}
    assert verify(dist, digests) == {}


def test_the_digest_of_an_image_needs_no_image(dist: Path) -> None:
    with_image = collect(dist, "bookworm", "second")
    for image in dist.glob("*.qcow2"):
        image.unlink()
    assert collect(dist, "bookworm", "second") == with_image


def test_one_image_alone_gives_the_paths_of_its_files(dist: Path) -> None:
    digests = collect(dist, "bookworm", "second")
    for path in dist.glob(f"{SECOND}.*"):
        path.unlink()
    found = verify(dist, digests, "--image", "bookworm")
    assert found == {"qcow2": str(dist / f"{STEM}.qcow2"), "sbom": str(dist / f"{STEM}.cdx.json")}
    del digests["bookworm"][f"{STEM}.cdx.json"]
    (dist / f"{STEM}.cdx.json").unlink()
    assert verify(dist, digests, "--image", "bookworm")["sbom"] == ""


def test_an_image_that_left_no_report_is_missed(dist: Path) -> None:
    with pytest.raises(RefusedError, match="no report of third"):
        collect(dist, "bookworm", "third")


@pytest.mark.parametrize(("version", "commit"), [("v2026.11.24", COMMIT), (TAG, "f" * 40)])
def test_images_of_another_version_or_commit_are_refused(dist: Path, version: str, commit: str) -> None:
    with pytest.raises(RefusedError, match="was built"):
        collect(dist, "bookworm", version=version, commit=commit)


def altered(path: Path, **changes: object) -> None:
    read_record(path, ValidationReport).model_copy(update=changes).write(path)


def test_an_image_that_did_not_pass_is_refused(dist: Path) -> None:
    altered(dist / f"{STEM}.validation.json", passed=False)
    with pytest.raises(RefusedError, match="has not passed its boot test"):
        collect(dist, "bookworm")


def test_a_report_of_other_bytes_is_refused(dist: Path) -> None:
    altered(dist / f"{STEM}.validation.json", image_sha256="e" * 64)
    with pytest.raises(VerificationError, match="the boot test was of e"):
        collect(dist, "bookworm")


def test_a_missing_report_is_an_error_of_its_own(dist: Path) -> None:
    (dist / f"{STEM}.validation.json").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        collect(dist, "bookworm")


def test_a_renamed_record_is_refused(dist: Path) -> None:
    (dist / f"{STEM}.build.json").rename(dist / "other.build.json")
    with pytest.raises(InputError, match="is the record of"):
        collect(dist, "bookworm")


@pytest.mark.parametrize("ending", [".qcow2", ".packages.tsv", ".build.json", ".console.png"])
def test_a_file_that_changed_on_the_way_is_found(dist: Path, ending: str) -> None:
    digests = collect(dist, "bookworm", "second")
    with (dist / f"{STEM}{ending}").open("ab") as file:
        file.write(b"x")
    with pytest.raises(VerificationError, match=f"{STEM}{ending} has SHA-256"):
        verify(dist, digests)


def test_a_file_that_is_missing_or_that_nobody_vouches_for_is_found(dist: Path) -> None:
    digests = collect(dist, "bookworm", "second")
    (dist / f"{STEM}.cdx.json").rename(dist / "other.cdx.json")
    with pytest.raises(VerificationError, match=f"lacks {STEM}.cdx.json, and nobody vouches for other.cdx.json"):
        verify(dist, digests)


@pytest.mark.parametrize("digests", ["", {}, {"bookworm": {}}, {"bookworm": {"a": "short"}}, [], None])
def test_digests_that_vouch_for_nothing_do_not_pass(dist: Path, digests: object) -> None:
    with pytest.raises((InputError, VerificationError)):
        verify(dist, digests)


def test_digests_of_another_image_do_not_pass(dist: Path) -> None:
    with pytest.raises(InputError, match="no digests of 'bookworm'"):
        verify(dist, {"second": {"a": "a" * 64}}, "--image", "bookworm")


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1]", '"jammy"', "jammy"])
def test_what_is_no_list_of_images_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a list of images"):
        parse_images(text)
