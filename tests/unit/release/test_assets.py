import pytest

from ci.github.answers import Asset
from ci.release.assets import compare_assets, is_right
from tests.support.answers import FILES, IMAGE, LIST, RECORD, asset, local

ALL = tuple(asset(file) for file in FILES)
OTHER = f"sha256:{'0' * 64}"


def test_an_asset_is_right_by_name_size_state_and_digest() -> None:
    assert is_right(asset(IMAGE), IMAGE) is True


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other.qcow2"},
        {"size": IMAGE.size + 1},
        {"state": "starter"},
        {"state": "new"},
        {"digest": f"sha256:{LIST.sha256}"},
    ],
)
def test_an_asset_that_differs_in_one_of_them_is_wrong(change: dict[str, object]) -> None:
    assert is_right(asset(IMAGE, **change), IMAGE) is False


@pytest.mark.parametrize("digest", [None, "", "sha256:", "md5:abc"])
def test_without_a_digest_nobody_knows(digest: str | None) -> None:
    assert is_right(asset(IMAGE, digest=digest), IMAGE) is None


@pytest.mark.parametrize("change", [{"size": 0}, {"state": "starter"}])
def test_without_a_digest_what_is_known_to_be_wrong_is_wrong(change: dict[str, object]) -> None:
    assert is_right(asset(IMAGE, digest=None, **change), IMAGE) is False


def test_a_release_with_exactly_its_files_has_no_problem() -> None:
    found = compare_assets(ALL, FILES)
    assert (found.right, found.problems) == (ALL, ())


def test_each_asset_is_sorted_by_what_is_the_matter_with_it() -> None:
    wreck, unknown, foreign = asset(IMAGE, state="starter"), asset(LIST, digest=None), asset(local("notes.txt"))
    found = compare_assets([wreck, unknown, foreign], FILES)
    assert (found.right, found.wrong, found.untold) == ((), (wreck,), (unknown,))
    assert (found.foreign, found.missing) == ((foreign,), (RECORD.name,))


def test_a_name_that_comes_twice_is_foreign_the_second_time() -> None:
    assert compare_assets([*ALL, asset(IMAGE)], FILES).foreign == (asset(IMAGE),)


@pytest.mark.parametrize("sha256", [IMAGE.sha256, "0" * 64])
def test_where_no_digest_is_told_the_bytes_decide(sha256: str) -> None:
    unknown = asset(IMAGE, digest=None)
    found = compare_assets([unknown], [IMAGE], lambda _: sha256)
    assert (found.right, found.wrong, found.untold) == (
        ((unknown,), (), ()) if sha256 == IMAGE.sha256 else ((), (unknown,), ())
    )


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
    (said,) = compare_assets(assets, FILES).problems
    assert said.startswith(problem)
