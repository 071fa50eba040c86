from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ci.fetch.source import AbsentError
from ci.github.answers import Asset, Release, RepositoryFacts
from ci.github.client import GitHub
from ci.host.errors import AccessError, RefusedError, RejectedError, VerificationError
from ci.release.dist import LocalFile
from ci.release.publish import carry_out, described
from ci.release.state import PublishPlan, section
from ci.text.markdown import Markdown
from tests.support.answers import FILES, IMAGE, LIST, OURS, RECORD, asset, local, proposal, release
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
    """Keeps the draft in memory as `kept` makes assets of files, and what was done to it in order.

    `tags` are the commits that the tag is found on, one after the other; `draft` is what people made of ours.
    """

    def __init__(
        self,
        kept: Callable[[LocalFile], Asset] = asset,
        refusal: Exception | None = None,
        tags: Sequence[str | None] = (None, COMMIT),
        draft: Release = DRAFT,
    ) -> None:
        self.done: list[str] = []
        self.held: dict[str, Asset] = {}
        self.kept = kept
        self.refusal = refusal
        self.tags = list(tags)
        self.draft: Release | None = None
        self.edited = draft
        self.downloads = dict.fromkeys((file.name for file in FILES), "")
        self.sent: dict[str, object] = {}

    def create_draft(
        self,
        tag: str,  # noqa: ARG002
        body: str,  # noqa: ARG002
        done: Callable[[], Release | None],  # noqa: ARG002
        *,
        target: str | None,
    ) -> Release:
        if self.refusal:
            raise self.refusal
        self.done.append("create")
        self.draft = self.edited
        self.sent["created at"] = target
        return DRAFT

    def releases(self) -> list[Release]:
        return [self.draft] if self.draft else []

    def release(self, number: int) -> Release:
        self.done.append("read")
        return self.edited.model_copy(update={"id": number})

    def tag_commit(self, tag: str) -> str | None:  # noqa: ARG002
        self.done.append("tag")
        return self.tags.pop(0)

    def repository(self) -> RepositoryFacts:
        return RepositoryFacts(id=1, full_name="o/r", default_branch="trunk")

    def workflows(self, commit: str | None) -> str | None:
        return commit

    def assets(self, release: Release) -> tuple[Asset, ...]:  # noqa: ARG002
        self.done.append("look")
        return tuple(self.held.values())

    def delete_asset(self, asset: Asset) -> None:
        self.done.append(f"delete {asset.name}")
        self.held.pop(asset.name, None)

    def publish(self, release: Release, *, body: str, latest: bool, target: str | None) -> Release:
        self.done.append("publish")
        self.sent |= {"body": body, "latest": latest, "published at": target}
        return release.model_copy(update={"draft": False, "assets": tuple(self.held.values())})

    def withdraw(self, release: Release) -> None:
        self.done.append("withdraw")
        if release.body == "cannot be taken back":
            raise AccessError("the token expired", hint="Make a new one.")

    def upload(self, release: Release, path: Path, done: Callable[[bool], Asset | None]) -> Asset:  # noqa: ARG002
        made = self.kept(next(file for file in FILES if file.path == path))
        self.done.append(f"upload {path.name}")
        self.held[made.name] = made
        return made

    def sha256(self, asset: Asset) -> str:
        self.done.append(f"download {asset.name}")
        return self.downloads[asset.name]


def whole(**changes: object) -> Ledger:
    """A ledger whose draft has all files."""
    ledger = Ledger(**changes)  # type: ignore[arg-type]
    ledger.held = {file.name: asset(file) for file in FILES}
    return ledger


def test_nothing_is_published_before_every_asset_was_looked_at() -> None:
    ledger = Ledger()
    published = carry_out(ledger, ABSENT, proposal())
    assert ledger.done == [
        "create", "look", *(f"upload {file.name}" for file in FILES), "look", "read", "tag", "publish", "tag",
    ]  # fmt: skip
    assert not published.draft


# The tag, before and after


def test_a_commit_is_sent_only_for_a_tag_that_is_not_there() -> None:
    """Where it is there, GitHub may refuse the commit for its workflows: https://github.com/cli/cli/issues/9514."""
    new, there = Ledger(), Ledger(tags=[COMMIT, COMMIT], draft=release(draft=True, target_commitish="main"))
    carry_out(new, ABSENT, proposal())
    # The draft has it from its creation.
    assert (new.sent["created at"], new.sent["published at"]) == (COMMIT, None)
    carry_out(there, ABSENT, proposal(tagged=True))
    assert (there.sent["created at"], there.sent["published at"]) == (None, None)
    elsewhere = whole(draft=release(draft=True, target_commitish="main"))
    carry_out(elsewhere, PublishPlan(release=elsewhere.edited), proposal())
    assert elsewhere.sent["published at"] == COMMIT


def test_the_commit_that_a_draft_has_from_before_its_tag_was_there_is_taken_out() -> None:
    """Else GitHub refuses to publish it for its workflows, though the tag was pushed as we said."""
    ledger = whole(tags=[COMMIT, COMMIT])
    carry_out(ledger, PublishPlan(release=DRAFT), proposal(tagged=True))
    assert ledger.sent["published at"] == "trunk"


@pytest.mark.parametrize(
    ("before", "words"), [("d" * 40, f"was moved to commit {'d' * 40} meanwhile"), (None, "was deleted meanwhile")]
)
def test_a_tag_that_changed_before_nothing_is_published(before: str | None, words: str) -> None:
    ledger = whole(tags=[before])
    with pytest.raises(RefusedError, match=words) as refusal:
        carry_out(ledger, PublishPlan(release=DRAFT), proposal(tagged=True))
    assert "publish" not in ledger.done
    assert "nothing is public, the draft stays" in refusal.value.message
    assert f"git push --force origin {COMMIT}:refs/tags/{TAG}" in (refusal.value.hint or "")


def test_a_tag_that_somebody_made_elsewhere_meanwhile_is_not_published() -> None:
    ledger = whole(tags=["d" * 40])
    with pytest.raises(RefusedError, match="was moved to commit"):
        carry_out(ledger, PublishPlan(release=DRAFT), proposal(tagged=False))
    assert "publish" not in ledger.done


@pytest.mark.parametrize("after", ["d" * 40, None])
def test_a_tag_that_changed_while_it_was_published_makes_the_release_a_draft_again(after: str | None) -> None:
    ledger = whole(tags=[COMMIT, after])
    with pytest.raises(RefusedError, match="it is a draft again"):
        carry_out(ledger, PublishPlan(release=DRAFT), proposal(tagged=True))
    assert ledger.done[-3:] == ["publish", "tag", "withdraw"]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"immutable": True}, "is public and immutable"), ({"body": "cannot be taken back"}, "make it a draft by hand")],
)
def test_what_cannot_be_taken_back_is_said_to_be_public(
    change: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = whole(tags=[COMMIT, "d" * 40])
    public = release(assets=list(ledger.held.values()), **change)
    monkeypatch.setattr(ledger, "publish", lambda *_, **__: public)
    with pytest.raises(RefusedError, match=words) as refusal:
        carry_out(ledger, PublishPlan(release=DRAFT), proposal(tagged=True))
    assert public.html_url in refusal.value.message


def test_an_asset_that_is_replaced_in_the_last_moment_makes_the_release_a_draft_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = whole(tags=[COMMIT])
    public = release(assets=[asset(IMAGE, digest=f"sha256:{'0' * 64}"), asset(LIST), asset(RECORD)])
    monkeypatch.setattr(ledger, "publish", lambda *_, **__: public)
    with pytest.raises(VerificationError, match=r"not those that were tested: image\.qcow2.*; it is a draft again"):
        carry_out(ledger, PublishPlan(release=DRAFT), proposal(tagged=True))


# People's edits


def test_what_people_wrote_into_the_draft_stays() -> None:
    ledger = whole(draft=release(draft=True, body=f"Known problem.\n\n{OURS}", name="Mine", prerelease=True))
    carry_out(ledger, PublishPlan(release=DRAFT), proposal(body=section(COMMIT, Markdown("New"))))
    assert ledger.sent["body"] == f"Known problem.\n\n{section(COMMIT, Markdown('New'))}"
    # GitHub makes no prerelease the latest.
    assert ledger.sent["latest"] is False


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"body": OURS.replace("Notes", "Mine")}, "somebody edited the section"),
        ({"tag_name": "v2026.11.24"}, "somebody made the draft of"),
    ],
)
def test_an_edit_that_does_not_go_with_ours_is_not_written_over(change: dict[str, Any], words: str) -> None:
    ledger = whole(draft=release(draft=True, **change))
    with pytest.raises(RefusedError, match=words):
        carry_out(ledger, PublishPlan(release=DRAFT), proposal())
    assert "publish" not in ledger.done


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
    assert ledger.done == ["create", "look", f"upload {IMAGE.name}", f"delete {IMAGE.name}"]


def test_without_digests_the_bytes_are_compared_once() -> None:
    ledger = Ledger(lambda file: asset(file, digest=None, id=FILES.index(file)))
    ledger.downloads = {file.name: file.sha256 for file in FILES}
    assert not carry_out(ledger, ABSENT, proposal()).draft
    assert [done for done in ledger.done if done.startswith("download")] == [f"download {file.name}" for file in FILES]


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


@pytest.mark.parametrize("refusal", [AccessError("not accessible", hint="Ask."), AbsentError("POST /releases")])
def test_a_token_that_may_not_make_a_tag_on_other_workflows_is_told_to_push_the_tag_first(refusal: Exception) -> None:
    """GitHub answers 403 or 404 and no reason: https://github.com/cli/cli/issues/9514."""
    with pytest.raises(AccessError, match="needs the permission `workflows`") as explained:
        carry_out(Ledger(refusal=refusal), ABSENT, proposal())
    assert f"git push origin {COMMIT}:refs/tags/{TAG}" in (explained.value.hint or "")


def test_a_refusal_has_nothing_to_do_with_workflows_where_the_tag_is_there_or_they_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusal = AccessError("not accessible", hint="Ask.")
    with pytest.raises(AccessError, match="not accessible"):
        carry_out(Ledger(refusal=refusal), ABSENT, proposal(tagged=True))
    ledger = Ledger(refusal=refusal)
    monkeypatch.setattr(ledger, "workflows", lambda _: "same")
    with pytest.raises(AccessError, match="not accessible"):
        carry_out(ledger, ABSENT, proposal())
