import pytest

from ci.host.errors import RefusedError, VerificationError
from ci.plan_drift import base_of, require_buildable
from ci.records.build import Verification
from ci.records.release import AssetRecord, ImageRelease, ReleaseRecord, ValidationSummary
from tests.support.releasing import COMMIT, DAY, TAG, build_record

BUILD = build_record()
QCOW2 = AssetRecord(name="a.qcow2", sha256="a" * 64, size=1, url="https://github.com/o/r/a.qcow2")


def image(definition: str = "jammy", verification: Verification = Verification.PINNED_DIGEST) -> ImageRelease:
    return ImageRelease(
        name="a",
        definition=definition,
        definition_sha256="d" * 64,
        distribution="ubuntu-2204",
        built_at=DAY,
        base=BUILD.base.model_copy(update={"verification": verification}),
        kernel="6",
        packages=1,
        qcow2=QCOW2,
        virtual_size=1,
        assets=[QCOW2],
        validation=ValidationSummary(passed=1, skipped=0, accelerator="tcg", ssh_seconds={}),
        attestation=None,
    )


def record(*images: ImageRelease, commit: str = COMMIT) -> ReleaseRecord:
    first, *others = images
    return ReleaseRecord(
        tag=TAG, repository="o/r", url="https://github.com/o/r", commit=commit, run=None, previous=None, changes=None,
        image=first, others=others, ensure_vm=QCOW2,
    )  # fmt: skip


def test_all_images_of_a_release_are_built_again() -> None:
    assert list(require_buildable(record(image(), image("bookworm")), COMMIT)) == ["jammy", "bookworm"]


@pytest.mark.parametrize("tagged", [None, "f" * 40], ids=["no tag", "another commit"])
def test_a_commit_without_its_tag_is_not_run(tagged: str | None) -> None:
    with pytest.raises(RefusedError, match="its tag is on") as refusal:
        require_buildable(record(image()), tagged)
    assert refusal.value.hint


@pytest.mark.parametrize("commit", ["main", "refs/pull/1/head", "c0ffee", ""])
def test_what_is_no_commit_is_not_run_either(commit: str) -> None:
    with pytest.raises(RefusedError):
        require_buildable(record(image(), commit=commit), commit)


@pytest.mark.parametrize("name", ["../jammy", "jammy; id", "Jammy", "", "$(id)", "a" * 50])
def test_a_name_that_could_do_harm_is_refused(name: str) -> None:
    with pytest.raises(VerificationError, match="cannot be an image's name"):
        require_buildable(record(image(), image(name)), COMMIT)


def test_the_base_is_the_releases_with_its_digest() -> None:
    assert base_of(image()) == {"base-url": BUILD.base.url, "base-sha256": BUILD.base.sha256}


def test_a_base_made_from_packages_is_made_anew() -> None:
    assert base_of(image(verification=Verification.SIGNED_PACKAGES)) == {"base-url": "", "base-sha256": ""}
