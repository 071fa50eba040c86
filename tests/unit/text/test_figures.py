import pytest

from ci.text import figures


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (364_200_000, "364.2 MB"), (999_949_999, "999.9 MB"),
        (999_950_000, "1.0 GB"), (2_147_483_648, "2.1 GB"), (5_000_000_000_000_000, "5,000.0 TB"),
    ],
)  # fmt: skip
def test_sizes_are_as_on_download_pages(count: int, text: str) -> None:
    assert figures.size(count) == text


@pytest.mark.parametrize(
    ("difference", "text"), [(0, "unchanged"), (1_200_000, "+1.2 MB"), (-12, "\N{MINUS SIGN}12 B")]
)
def test_a_change_of_size_has_its_sign(difference: int, text: str) -> None:
    assert figures.size_change(difference) == text


def test_one_is_no_plural() -> None:
    assert [figures.plural(count, "release") for count in (0, 1, 1200)] == ["0 releases", "1 release", "1,200 releases"]
