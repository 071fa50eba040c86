from collections.abc import Callable
from pathlib import Path

import pytest

from ci.github.answers import Asset, Release
from ci.github.client import GitHub
from ci.host.errors import RefusedError, RejectedError, VerificationError
from ci.release.dist import LocalFile
from ci.release.publish import carry_out, described
from ci.release.state import PublishPlan
from tests.support.answers import FILES, IMAGE, LIST, RECORD, asset, local, proposal, release
from tests.support.releasing import COMMIT, TAG

DRAFT = release(draft=True)
WRECK = asset(IMAGE, state="starter", size=0, digest=None)
ABSENT = PublishPlan(upload=FILES)


# The plan in words


def test_where_nothing_is_everything_is_done_in_order_and_published_last() -> None:
    create, *uploads, publish = list(described(ABSENT, proposal()))[1:]
    assert COMMIT in create
    assert [words.split()[:3] for words in uploads] == [["would", "upload", file.name] for file in FILES]
    assert IMAGE.sha256 in uploads[0]
    assert publish == f"would publish {TAG} as the latest release"
    assert list(described(ABSENT, proposal(latest=False)))[-1] == f"would publish {TAG}"


def test_in_a_partial_draft_wrecks_go_first() -> None:
    there, remove, upload, publish = described(PublishPlan(release=DRAFT, remove=(WRECK,), upload=(IMAGE,)), proposal())
    assert there == f"{TAG}: draft, not all assets right"
    assert remove == "would remove image.qcow2 from the draft (state starter, 0 bytes)"
    assert upload.startswith("would upload image.qcow2")
    assert publish.startswith("would publish")


def test_a_complete_draft_is_only_published() -> None:
    there, publish = described(PublishPlan(release=DRAFT), proposal())
    assert there == f"{TAG}: draft, all assets right"
    assert publish.startswith("would publish")


def test_what_is_published_is_left_alone() -> None:
    there, then = described(PublishPlan(release=release()), proposal())
    assert (there, then) == (f"{TAG}: published, with these very assets", "nothing to do")
    ledger = Ledger()
    assert carry_out(ledger, PublishPlan(release=release()), proposal()) == release()
    assert ledger.done == []


# Carrying it out: the order, and what is refused, against a GitHub in memory


class Ledger(GitHub):
    """Keeps the draft in memory as `kept` makes assets of files, and what was done to it in order."""

    def __init__(self, kept: Callable[[LocalFile], Asset] = asset, refusal: RejectedError | None = None) -> None:
        self.done: list[str] = []
        self.held: dict[str, Asset] = {}
        self.kept = kept
        self.refusal = refusal
        self.downloads = dict.fromkeys((file.name for file in FILES), "")

    def create_draft(self, tag: str, commit: str, body: str, done: Callable[[], Release | None]) -> Release:  # noqa: ARG002
        if self.refusal:
            raise self.refusal
        self.done.append("create")
        return DRAFT

    def assets(self, release: Release) -> tuple[Asset, ...]:  # noqa: ARG002
        self.done.append("look")
        return tuple(self.held.values())

    def delete_asset(self, asset: Asset) -> None:
        self.done.append(f"delete {asset.name}")
        self.held.pop(asset.name, None)

    def publish(self, release: Release, *, commit: str, body: str, latest: bool) -> Release:  # noqa: ARG002
        self.done.append("publish")
        return release.model_copy(update={"draft": False, "assets": tuple(self.held.values())})

    def upload(self, release: Release, path: Path, done: Callable[[], Asset | None]) -> Asset:  # noqa: ARG002
        made = self.kept(next(file for file in FILES if file.path == path))
        self.done.append(f"upload {path.name}")
        self.held[made.name] = made
        return made

    def sha256(self, asset: Asset) -> str:
        return self.downloads[asset.name]


def test_nothing_is_published_before_every_asset_was_looked_at() -> None:
    ledger = Ledger()
    published = carry_out(ledger, ABSENT, proposal())
    assert ledger.done == ["create", *(f"upload {file.name}" for file in FILES), "look", "publish"]
    assert not published.draft


@pytest.mark.parametrize(
    "held",
    [
        [asset(IMAGE), asset(LIST)],
        [asset(IMAGE), asset(LIST, digest=f"sha256:{'0' * 64}"), asset(RECORD)],
        [asset(IMAGE), asset(LIST, state="starter"), asset(RECORD)],
        [*(asset(file) for file in FILES), asset(local("notes.txt"))],
    ],
    ids=["missing", "other bytes", "starter", "not ours"],
)
def test_a_draft_that_is_not_right_after_all_is_not_published(held: list[Asset]) -> None:
    ledger = Ledger()
    ledger.held = {item.name: item for item in held}
    with pytest.raises(VerificationError, match="not those that were tested"):
        carry_out(ledger, PublishPlan(release=DRAFT), proposal())
    assert "publish" not in ledger.done


def test_an_asset_that_arrived_altered_is_removed_and_nothing_follows() -> None:
    ledger = Ledger(lambda file: asset(file, digest=f"sha256:{'0' * 64}"))
    with pytest.raises(VerificationError, match="GitHub has"):
        carry_out(ledger, ABSENT, proposal())
    assert ledger.done == ["create", f"upload {IMAGE.name}", f"delete {IMAGE.name}"]


def test_without_digests_the_bytes_are_compared() -> None:
    ledger = Ledger(lambda file: asset(file, digest=None))
    ledger.downloads = {file.name: file.sha256 for file in FILES}
    assert not carry_out(ledger, ABSENT, proposal()).draft


def test_without_digests_other_bytes_are_not_published() -> None:
    ledger = Ledger(lambda file: asset(file, digest=None))
    ledger.downloads = {file.name: "0" * 64 for file in FILES}
    with pytest.raises(VerificationError):
        carry_out(ledger, ABSENT, proposal())
    assert "publish" not in ledger.done


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tag_name was used by an immutable release", "can never be used again"),
        ("Validation Failed; target_commitish: invalid", f"does not know the commit {COMMIT}"),
    ],
)
def test_a_refusal_that_can_be_foreseen_says_what_to_do(words: str, expected: str) -> None:
    ledger = Ledger(refusal=RejectedError(f"GitHub refuses it: {words}"))
    with pytest.raises(RefusedError, match=expected):
        carry_out(ledger, ABSENT, proposal())


def test_a_refusal_that_cannot_keeps_github_s_words_and_codes() -> None:
    ledger = Ledger(refusal=RejectedError("GitHub refuses it: a ruleset", codes=["custom"]))
    with pytest.raises(RejectedError, match="a ruleset") as refusal:
        carry_out(ledger, ABSENT, proposal())
    assert refusal.value.codes == {"custom"}
