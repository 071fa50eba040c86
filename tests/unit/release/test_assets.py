import pytest

from ci.github.answers import Asset
from ci.release.assets import compare_assets
from tests.support.answers import FILES, IMAGE, LIST, RECORD, asset, local, unread

ALL = tuple(asset(file) for file in FILES)
OTHER = f"sha256:{'0' * 64}"


def test_an_asset_is_right_by_name_size_state_and_digest() -> None:
    assert compare_assets([asset(IMAGE)], [IMAGE], unread).right == (asset(IMAGE),)


@pytest.mark.parametrize("digest", [f"sha256:{IMAGE.sha256}", None])
@pytest.mark.parametrize("change", [{"size": IMAGE.size + 1}, {"size": 0}, {"state": "starter"}, {"state": "new"}])
def test_an_asset_that_is_not_whole_is_wrong_and_its_bytes_are_not_read(
    change: dict[str, object], digest: str | None
) -> None:
    broken = asset(IMAGE, digest=digest, **change)
    assert compare_assets([broken], [IMAGE], unread).wrong == (broken,)


def test_other_bytes_are_wrong() -> None:
    assert compare_assets([asset(IMAGE, digest=OTHER)], [IMAGE], unread).wrong == (asset(IMAGE, digest=OTHER),)


def test_a_release_with_exactly_its_files_has_no_problem() -> None:
    found = compare_assets(ALL, FILES, unread)
    assert (found.right, found.problems) == (ALL, ())


def test_each_asset_is_sorted_by_what_is_the_matter_with_it() -> None:
    wreck, foreign = asset(IMAGE, state="starter"), asset(local("notes.txt"))
    found = compare_assets([wreck, asset(LIST), foreign], FILES, unread)
    assert (found.right, found.wrong) == ((asset(LIST),), (wreck,))
    assert (found.foreign, found.missing) == ((foreign,), (RECORD.name,))


def test_a_name_that_comes_twice_is_foreign_the_second_time() -> None:
    assert compare_assets([*ALL, asset(IMAGE)], FILES, unread).foreign == (asset(IMAGE),)


@pytest.mark.parametrize("digest", [None, "", "sha256:", "md5:abc"])
@pytest.mark.parametrize("sha256", [IMAGE.sha256, "0" * 64])
def test_where_no_digest_is_told_the_bytes_decide(sha256: str, digest: str | None) -> None:
    unknown = asset(IMAGE, digest=digest)
    found = compare_assets([unknown], [IMAGE], lambda _: sha256)
    assert (found.right, found.wrong) == (((unknown,), ()) if sha256 == IMAGE.sha256 else ((), (unknown,)))


@pytest.mark.parametrize(
    ("assets", "problem"),
    [
        (ALL[1:], "image.qcow2 is missing from the release, or incomplete"),
        ((asset(IMAGE, size=1), *ALL[1:]), "image.qcow2 is missing from the release, or incomplete"),
        ((asset(IMAGE, digest=OTHER), *ALL[1:]), f"image.qcow2 is not what was tested: SHA-256 {'0' * 64}"),
        ((*ALL, asset(local("notes.txt"))), "notes.txt is none of its files"),
    ],
)
def test_what_is_the_matter_is_said_in_words(assets: tuple[Asset, ...], problem: str) -> None:
    (said,) = compare_assets(assets, FILES, unread).problems
    assert said.startswith(problem)


def test_a_digest_that_differs_is_read_once_more_before_it_counts() -> None:
    digests = [OTHER, IMAGE.sha256]
    unknown = asset(IMAGE, digest=None)
    assert compare_assets([unknown], [IMAGE], lambda _: digests.pop(0)).right == (unknown,)
