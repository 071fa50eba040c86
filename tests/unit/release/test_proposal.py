from pathlib import Path

import pytest

from ci.comparison.packages import compare
from ci.github.context import Context
from ci.host.errors import InputError, RefusedError
from ci.host.files import sha256_file
from ci.records import artifacts
from ci.records.manifest_rules import read_manifest, toolsmith_obstacle
from ci.records.record import read_record
from ci.records.release import ReleaseFacts, ReleaseRecord
from ci.release.dist import TestedImage, read_dist
from ci.release.proposal import check_commit, make_proposal, primary_first, release_record, write_own_files
from ci.release.publish import Proposal
from ci.release.state import is_ours
from tests.support import consumer_model
from tests.support.answers import local, release
from tests.support.releasing import COMMIT, DAY, TAG, make_dist

REPOSITORY = "fountain-coach/image"
ENSURE_VM = local("ensure-vm.pyz")


def context(commit: str | None = None) -> Context:
    return Context(
        api_url="https://api.github.com", server_url="https://github.com", repository=REPOSITORY, commit=commit,
        token="t" * 40,
    )  # fmt: skip


@pytest.fixture
def images(tmp_path: Path) -> tuple[TestedImage, ...]:
    """Two images; by name the one that is no default comes first."""
    dist = make_dist(tmp_path / "dist")
    return read_dist(make_dist(dist, distribution="ubuntu-2204", definition="jammy"), version=None)


def record_of(
    images: tuple[TestedImage, ...], previous: ReleaseFacts | None = None, *, attested: bool = True
) -> ReleaseRecord:
    ordered = primary_first(images, "jammy")
    changes = compare(ordered[0].packages[:1], ordered[0].packages) if previous else None
    return release_record(
        context(), ordered, ENSURE_VM, previous=previous, changes=changes, run="https://run", attested=attested
    )


def proposal_of(images: tuple[TestedImage, ...], folder: Path) -> Proposal:
    folder.mkdir(exist_ok=True)
    record = record_of(images)
    files = (ENSURE_VM, *write_own_files(record, folder))
    return make_proposal(record, primary_first(images, "jammy"), files, latest=True, tagged=False)


def test_a_single_image_is_the_primary_whatever_it_is(images: tuple[TestedImage, ...]) -> None:
    assert primary_first(images[:1], "jammy") == images[:1]


def test_of_several_the_one_that_was_named_is(images: tuple[TestedImage, ...]) -> None:
    ordered = primary_first(images, "jammy")
    assert [image.build.definition for image in ordered] == ["jammy", "bookworm"]


def test_of_several_one_must_be_named(images: tuple[TestedImage, ...]) -> None:
    with pytest.raises(InputError, match="there is no build of 'noble' among bookworm, jammy"):
        primary_first(images, "noble")


@pytest.mark.parametrize("commit", [None, COMMIT])
def test_the_commit_is_the_one_the_images_are_of(images: tuple[TestedImage, ...], commit: str | None) -> None:
    assert check_commit(images, context(commit)) == COMMIT


def test_a_run_for_another_commit_is_refused(images: tuple[TestedImage, ...]) -> None:
    with pytest.raises(RefusedError, match=f"built from {COMMIT}, this run is for {'a' * 40}"):
        check_commit(images, context("a" * 40))


def test_an_image_of_no_known_commit_is_refused(tmp_path: Path) -> None:
    unknown = read_dist(make_dist(tmp_path / "other", commit="unknown"), version=None)
    with pytest.raises(RefusedError, match="unknown commit"):
        check_commit(unknown, context())


def test_the_record_tells_what_each_image_is_and_where(images: tuple[TestedImage, ...]) -> None:
    record = record_of(images)
    page = f"https://github.com/{REPOSITORY}/releases"
    assert (record.tag, record.url, record.run) == (TAG, f"{page}/tag/{TAG}", "https://run")
    assert record.image.name == "fountainkit-toolsmith-ubuntu-2204"
    assert record.image.qcow2.url == f"{page}/download/{TAG}/{images[1].qcow2.name}"
    assert record.image.qcow2.sha256 == images[1].qcow2.sha256
    assert {asset.name for asset in record.image.assets} == {file.name for file in images[1].files}
    assert [other.definition for other in record.others] == ["bookworm"]
    assert (record.image.validation.passed, record.image.validation.skipped) == (2, 0)
    assert record.image.validation.ssh_seconds["consumer"] == 21.5
    assert record.image.built_at == DAY
    assert record.ensure_vm.url == f"{page}/download/{TAG}/ensure-vm.pyz"
    assert record.assets == (*record.image.assets, *record.others[0].assets, record.ensure_vm, record.snippet)


def test_the_snippet_is_a_whole_manifest_that_toolsmith_can_use(
    images: tuple[TestedImage, ...], tmp_path: Path
) -> None:
    record = record_of(images)
    assert record.snippet is not None
    assert record.snippet.url == f"https://github.com/{REPOSITORY}/releases/download/{TAG}/manifest-snippet.json"
    snippet, _ = write_own_files(record, tmp_path)
    data = snippet.path.read_bytes()
    assert (snippet.name, snippet.sha256, snippet.size) == (
        record.snippet.name,
        record.snippet.sha256,
        record.snippet.size,
    )
    document = read_manifest(data, "a test")
    assert toolsmith_obstacle(document) is None
    assert document["image"]["qcow2_url"] == record.image.qcow2.url
    decoded = consumer_model.decode(data)
    assert (decoded.image.qcow2, decoded.image.qcow2_sha256) == (record.image.qcow2.name, record.image.qcow2.sha256)
    assert (decoded.tools, decoded.operations) == ({}, [])


def test_the_record_tells_where_each_images_attestation_is_and_only_where_there_is_one(
    images: tuple[TestedImage, ...],
) -> None:
    for image in record_of(images).images:
        assert image.attestation is not None
        where = f"https://api.github.com/repos/{REPOSITORY}/attestations/sha256:{image.qcow2.sha256}"
        assert image.attestation.url == where
        assert "https://cyclonedx.org/bom" in image.attestation.predicates
    assert [image.attestation for image in record_of(images, attested=False).images] == [None, None]


def test_a_record_outlives_being_written(images: tuple[TestedImage, ...], tmp_path: Path) -> None:
    record = record_of(images, previous=ReleaseFacts.of(record_of(images)))
    assert record.changes is not None
    record.write(tmp_path / artifacts.RELEASE)
    assert read_record(tmp_path / artifacts.RELEASE, ReleaseRecord) == record


def test_everything_is_uploaded_and_the_record_last(images: tuple[TestedImage, ...], tmp_path: Path) -> None:
    made = proposal_of(images, tmp_path)
    assert [file.name for file in made.files] == [
        *(file.name for image in reversed(images) for file in image.files),
        "ensure-vm.pyz", artifacts.SNIPPET, artifacts.RELEASE,
    ]  # fmt: skip
    assert made.files[0].name.endswith(".qcow2")
    assert made.files[-1].sha256 == sha256_file(tmp_path / artifacts.RELEASE)
    assert (made.tag, made.commit, made.latest) == (TAG, COMMIT, True)


def test_a_draft_with_its_notes_is_known_as_ours(images: tuple[TestedImage, ...], tmp_path: Path) -> None:
    made = proposal_of(images, tmp_path)
    assert is_ours(release(body=made.body))
    # GitHub gives line ends back as a browser sends them.
    assert is_ours(release(body=made.body.replace("\n", "\r\n")))


def test_the_same_files_make_the_same_record_and_notes(images: tuple[TestedImage, ...], tmp_path: Path) -> None:
    first, second = (proposal_of(images, tmp_path / name) for name in ("first", "second"))
    assert first.body == second.body
    assert first.files[-1].sha256 == second.files[-1].sha256
