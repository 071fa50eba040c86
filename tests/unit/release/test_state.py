import pytest

from ci.host.errors import RefusedError
from ci.release.state import PublishPlan, find, is_ours, marker, plan_draft, require_same
from tests.support.answers import FILES, IMAGE, LIST, RECORD, asset, local, release
from tests.support.releasing import COMMIT, TAG

ALL = tuple(asset(file) for file in FILES)


# Whose draft


def test_a_draft_is_known_by_the_comment_in_its_text() -> None:
    assert is_ours(release(body=f"Notes\n\n{marker(COMMIT)}\n"))
    assert is_ours(release(body=f"Edited by somebody\n{marker('d' * 40)}"))


@pytest.mark.parametrize("body", [None, "", "Notes", "<!-- release of abc -->", marker(COMMIT[:12])])
def test_a_draft_without_it_is_somebodys(body: str | None) -> None:
    assert not is_ours(release(body=body))


# Which release


def test_no_release_of_the_tag_is_none_whatever_else_there_is() -> None:
    assert find(TAG, []) is None
    assert find(TAG, [release("v2026.11.22"), release(f"{TAG}.1", draft=True), release("nightly")]) is None


def test_a_draft_of_ours_is_found() -> None:
    ours = release(draft=True)
    assert find(TAG, [release("v2026.11.22"), ours]) == ours


def test_a_published_release_goes_before_any_draft() -> None:
    published = release(id=1)
    assert find(TAG, [release(draft=True), published, release(draft=True, body="Mine")]) == published


def test_two_drafts_are_a_persons_to_choose_from() -> None:
    with pytest.raises(RefusedError, match="there are 2 drafts"):
        find(TAG, [release(draft=True, id=1), release(draft=True, id=2)])


def test_a_draft_of_somebody_elses_is_left_alone() -> None:
    with pytest.raises(RefusedError, match="did not make"):
        find(TAG, [release(draft=True, body="Mine")])


# A draft


DRAFT = release(draft=True)


def test_an_empty_draft_lacks_everything() -> None:
    assert plan_draft(DRAFT, (), FILES) == PublishPlan(release=DRAFT, upload=FILES)


def test_a_draft_with_every_file_is_complete() -> None:
    assert plan_draft(DRAFT, ALL, FILES) == PublishPlan(release=DRAFT)


def test_in_a_partial_draft_wrong_assets_give_way_and_right_ones_stay() -> None:
    wreck, other = asset(IMAGE, state="starter", size=0, digest=None), asset(LIST, digest=f"sha256:{'0' * 64}")
    found = plan_draft(DRAFT, (wreck, other, asset(RECORD)), FILES)
    assert found == PublishPlan(release=DRAFT, remove=(wreck, other), upload=(IMAGE, LIST))


def test_an_asset_of_which_nobody_knows_is_not_relied_on() -> None:
    unknown = asset(IMAGE, digest=None)
    assert plan_draft(DRAFT, (unknown, *ALL[1:]), FILES) == PublishPlan(
        release=DRAFT, remove=(unknown,), upload=(IMAGE,)
    )


def test_a_file_that_is_not_ours_stops_everything_even_a_broken_one() -> None:
    with pytest.raises(RefusedError, match=r"notes\.txt, todo\.txt"):
        plan_draft(release(draft=True), (*ALL, asset(local("todo.txt")), asset(local("notes.txt"))), FILES)
    with pytest.raises(RefusedError, match=r"notes\.txt"):
        plan_draft(release(draft=True), (asset(local("notes.txt"), state="starter"),), FILES)


# A published release


def test_the_same_files_are_the_same_release() -> None:
    require_same(release(), ALL, FILES)


def test_the_record_may_tell_of_another_run() -> None:
    require_same(release(), (*ALL[:-1], asset(RECORD, digest=f"sha256:{'0' * 64}", size=99)), FILES)


@pytest.mark.parametrize(
    ("assets", "words"),
    [
        (ALL[1:], "different or missing: image.qcow2"),
        ((asset(IMAGE, digest=f"sha256:{'0' * 64}"), *ALL[1:]), "different or missing: image.qcow2"),
        ((asset(IMAGE, state="starter"), *ALL[1:]), "different or missing: image.qcow2"),
        ((*ALL, asset(local("notes.txt"))), "not ours: notes.txt"),
        (ALL[:-1], "without release.json"),
        ((), "different or missing: image.qcow2, image.packages.tsv; without release.json"),
    ],
)
def test_other_files_are_another_release(assets: tuple[object, ...], words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        require_same(release(), assets, FILES)  # type: ignore[arg-type]
