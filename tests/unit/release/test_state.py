from typing import Any

import pytest

from ci.host.errors import RefusedError
from ci.release.state import PublishPlan, find, is_ours, marker, plan_draft, require_same, section, with_section
from ci.text.markdown import Markdown
from tests.support.answers import FILES, IMAGE, LIST, OURS, RECORD, asset, local, release, unread
from tests.support.releasing import COMMIT, TAG

ALL = tuple(asset(file) for file in FILES)


# Whose draft


def test_a_draft_is_known_by_the_comment_in_its_text() -> None:
    assert is_ours(release(body=f"Notes\n\n{marker(COMMIT)}\n"))
    assert is_ours(release(body=f"Edited by somebody\n{marker('d' * 40)}"))


@pytest.mark.parametrize("body", [None, "", "Notes", "<!-- release of abc -->", marker(COMMIT[:12])])
def test_a_draft_without_it_is_somebodys(body: str | None) -> None:
    assert not is_ours(release(body=body))


# Its text


NEW = section("e" * 40, Markdown("New notes"))


@pytest.mark.parametrize(
    ("before", "behind"),
    [("", ""), ("Known problem: none.\n\n", ""), ("", "\n\nThanks to all!\n"), ("<b>\n", "\n\\1 \\g<text>")],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_a_person_wrote_around_our_section_stays(before: str, behind: str, end: str) -> None:
    body = (before + OURS.strip() + behind).replace("\n", end)
    draft = release(draft=True, body=body)
    assert with_section(draft, NEW) == before.replace("\n", end) + NEW.strip() + behind.replace("\n", end)


def test_a_draft_of_which_only_the_comment_is_left_gets_the_whole_section() -> None:
    assert with_section(release(body=f"Mine\n{marker(COMMIT)}"), NEW) == f"Mine\n{NEW.strip()}"


@pytest.mark.parametrize(
    "body",
    [
        OURS.replace("Notes", "Notes, and more"),
        OURS[OURS.index("Notes") :],
        "Mine",
        None,
    ],
    ids=["a word more", "begin taken out", "all taken out", "empty"],
)
def test_an_edit_of_our_section_itself_is_not_written_over(body: str | None) -> None:
    with pytest.raises(RefusedError, match=r"somebody edited the section of https://github\.com/o/r/releases"):
        with_section(release(body=body), NEW)


# Which release


def test_no_release_of_the_tag_is_none_whatever_else_there_is() -> None:
    others = [release("v2026.11.22"), release(f"{TAG}.1", draft=True), release("nightly")]
    assert find(TAG, [], FILES) == find(TAG, others, FILES) == (None, [])


def test_a_draft_of_ours_is_found() -> None:
    ours = release(draft=True)
    assert find(TAG, [release("v2026.11.22"), ours], FILES) == (ours, [])


def test_a_published_release_goes_before_any_draft_and_only_ours_is_left_over() -> None:
    published, ours = release(id=1), release(draft=True)
    assert find(TAG, [ours, published, release(draft=True, body="Mine")], FILES) == (published, [ours])


def test_of_drafts_of_runs_that_began_together_the_first_stays() -> None:
    first, second, third = (release(draft=True, id=number, assets=ALL[:1]) for number in (3, 4, 10))
    assert find(TAG, [third, first, second], FILES) == (first, [second, third])


@pytest.mark.parametrize(
    "change",
    [
        {"body": f"{OURS}\nMine"},
        {"body": OURS.replace("Notes", "Mine")},
        {"body": marker(COMMIT)},
        {"name": "Mine"},
        {"name": None},
        {"prerelease": True},
        {"assets": [asset(local("mine.txt"))]},
    ],
)
def test_a_further_draft_that_somebody_touched_is_a_persons_to_decide_about(change: dict[str, Any]) -> None:
    touched = release(draft=True, id=9, **change)
    with pytest.raises(RefusedError, match="there are 2 drafts"):
        find(TAG, [release(draft=True, id=1), touched], FILES)
    assert find(TAG, [release(id=1), touched], FILES) == (release(id=1), [])


@pytest.mark.parametrize("number", [1, 9])
def test_a_draft_of_ours_beside_somebody_elses_is_a_persons_to_decide_about(number: int) -> None:
    with pytest.raises(RefusedError, match="there are 2 drafts"):
        find(TAG, [release(draft=True, body="Mine", id=number), release(draft=True, id=5)], FILES)


def test_a_draft_of_somebody_elses_is_left_alone() -> None:
    with pytest.raises(RefusedError, match="did not make"):
        find(TAG, [release(draft=True, body="Mine")], FILES)


# A draft


DRAFT = release(draft=True)


def test_an_empty_draft_lacks_everything() -> None:
    assert plan_draft(DRAFT, (), FILES, unread) == PublishPlan(release=DRAFT, upload=FILES)


def test_a_draft_with_every_file_is_complete() -> None:
    assert plan_draft(DRAFT, ALL, FILES, unread) == PublishPlan(release=DRAFT)


def test_in_a_partial_draft_wrong_assets_give_way_and_right_ones_stay() -> None:
    wreck, other = asset(IMAGE, state="starter", size=0, digest=None), asset(LIST, digest=f"sha256:{'0' * 64}")
    found = plan_draft(DRAFT, (wreck, other, asset(RECORD)), FILES, unread)
    assert found == PublishPlan(release=DRAFT, remove=(wreck, other), upload=(IMAGE, LIST))


@pytest.mark.parametrize("same", [True, False])
def test_an_asset_of_which_github_tells_no_digest_is_read(*, same: bool) -> None:
    unknown = asset(IMAGE, digest=None)
    found = plan_draft(DRAFT, (unknown, *ALL[1:]), FILES, lambda _: IMAGE.sha256 if same else "0" * 64)
    lacks = PublishPlan(release=DRAFT, remove=(unknown,), upload=(IMAGE,))
    assert found == (PublishPlan(release=DRAFT) if same else lacks)


def test_a_file_that_is_not_ours_stops_everything_even_a_broken_one() -> None:
    with pytest.raises(RefusedError, match=r"notes\.txt, todo\.txt"):
        plan_draft(release(draft=True), (*ALL, asset(local("todo.txt")), asset(local("notes.txt"))), FILES, unread)
    with pytest.raises(RefusedError, match=r"notes\.txt"):
        plan_draft(release(draft=True), (asset(local("notes.txt"), state="starter"),), FILES, unread)


# A published release


def test_the_same_files_are_the_same_release() -> None:
    require_same(release(), ALL, FILES, unread)


def test_where_github_tells_no_digest_other_bytes_are_another_release() -> None:
    unknown = (asset(IMAGE, digest=None), *ALL[1:])
    require_same(release(), unknown, FILES, lambda _: IMAGE.sha256)
    with pytest.raises(RefusedError, match=r"different or missing: image\.qcow2"):
        require_same(release(), unknown, FILES, lambda _: "0" * 64)


def test_the_same_images_with_the_record_of_another_run_are_rolled_out_by_that_one() -> None:
    other = asset(RECORD, digest=f"sha256:{'0' * 64}", size=99)
    with pytest.raises(RefusedError, match=r"by another run, .*: its release\.json") as refusal:
        require_same(release(), (*ALL[:-1], other), FILES, unread)
    assert f"toolsmith-image roll-out --tag {TAG}" in (refusal.value.hint or "")


@pytest.mark.parametrize(
    ("assets", "words"),
    [
        (ALL[1:], "different or missing: image.qcow2"),
        ((asset(IMAGE, digest=f"sha256:{'0' * 64}"), *ALL[1:]), "different or missing: image.qcow2"),
        ((asset(IMAGE, state="starter"), *ALL[1:]), "different or missing: image.qcow2"),
        ((*ALL, asset(local("notes.txt"))), "not ours: notes.txt"),
        (ALL[:-1], r"different or missing: release\.json"),
        ((), r"different or missing: image\.qcow2, image\.packages\.tsv, release\.json"),
    ],
)
def test_other_files_are_another_release(assets: tuple[object, ...], words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        require_same(release(), assets, FILES, unread)  # type: ignore[arg-type]
