import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.catalogue import figures


def test_sizes_are_as_on_download_pages(subtests: pytest.Subtests) -> None:
    for count, text in [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (364_200_000, "364.2 MB"),
        (999_949_999, "999.9 MB"),
        (999_950_000, "1.0 GB"),
        (2_147_483_648, "2.1 GB"),
        (5_000_000_000_000_000, "5,000.0 TB"),
    ]:
        with subtests.test(count=count):
            assert figures.size(count) == text


@pytest.mark.parametrize(
    ("difference", "text"), [(0, "unchanged"), (1_200_000, "+1.2 MB"), (-12, "\N{MINUS SIGN}12 B")]
)
def test_a_change_has_its_sign(difference: int, text: str) -> None:
    assert figures.change(difference) == text


@pytest.mark.parametrize(
    "url",
    ["https://github.com/a/b/releases/tag/v1", "http://localhost:4010/a/b", "http://127.0.0.1/x", "https://a.example"],
)
def test_what_is_encrypted_or_on_this_machine_is_a_link(url: str) -> None:
    assert figures.safe_link(url) == url


def test_anything_else_is_only_shown(subtests: pytest.Subtests) -> None:
    for url in [
        "",
        "http://github.com/a",
        "javascript:alert(1)",
        "data:text/html,x",
        "//github.com/a",
        "bootstrap:bookworm",
        "https://github.com@evil.example/",
        "https://github.com\\@evil.example/",
        "https:///path",
        "HTTPS://a.example/",
        "https://a.example/x y",
        'https://a.example/"onclick',
        "https://a.example/\n",
        "https://[::1]/",
        "https://a:99999/",
        "http://localhost.evil.example/",
        "https://\u0430.example/",
    ]:
        with subtests.test(url=url):
            assert figures.safe_link(url) is None


@given(st.text())
def test_nothing_unseen_is_left(text: str) -> None:
    assert figures.visible(text).isprintable()


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_what_can_be_seen_stays(text: str) -> None:
    assert figures.visible(text) == text
