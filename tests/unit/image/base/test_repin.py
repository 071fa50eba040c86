import tomllib

import pytest

from ci.host.errors import InputError
from ci.host.repository import ROOT
from ci.image.base.repin import repinned

JAMMY = (ROOT / "build/images/jammy.toml").read_text(encoding="utf-8")
URL, SHA256 = "https://example.org/jammy/release-20260801/new.img", "c" * 64


def changed(before: str, after: str) -> list[tuple[str, str]]:
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    assert len(old) == len(new)
    return [(one, other) for one, other in zip(old, new, strict=True) if one != other]


def test_in_the_real_definition_two_lines_change() -> None:
    old = tomllib.loads(JAMMY)["base"]
    assert changed(JAMMY, repinned(JAMMY, URL, SHA256, "jammy.toml")) == [
        (f'url = "{old["url"]}"\n', f'url = "{URL}"\n'),
        (f'sha256 = "{old["sha256"]}"\n', f'sha256 = "{SHA256}"\n'),
    ]


def test_comments_and_spaces_stay_where_people_put_them(subtests: pytest.Subtests) -> None:
    for base in [
        '[base]\nurl = "a"\nsha256 = "b"\n',
        "  [base]\n\turl='a'   # why\n\n  sha256 = 'b'\t# because\n",
        '[ base ] # the base\nsha256 = "b"\nurl = "a"\nother = ["x", # first\n  "y"]\n',
        '[base]\r\nurl = "a"\r\nsha256 = "b" # windows\r\n',
        '[base]\n"url" = "a"\n"sha256" = "b"',
        '[other]\nurl = "a"\nsha256 = "b"\n[base]\nurl = "a"\nsha256 = "b"\n[base.streams]\nurl = "a"\n',
        '[base]\nurl = "a"\nsha256 = """b"""\n',
    ]:
        with subtests.test(base=base):
            before = f'# A definition\nname = "x" # é\n{base}'
            after = repinned(before, URL, SHA256, "x.toml")
            assert tomllib.loads(after)["base"] == tomllib.loads(before)["base"] | {"url": URL, "sha256": SHA256}
            pairs = changed(before, after)
            assert len(pairs) == 2
            for one, other in pairs:
                assert one.partition("=")[0] == other.partition("=")[0]
                assert one[len(one.rstrip()) :] == other[len(other.rstrip()) :]
                assert one.partition("#")[1:] == other.partition("#")[1:]


def test_where_the_two_are_not_plain_values_nothing_is_guessed(subtests: pytest.Subtests) -> None:
    for text in [
        "",
        "base = 1\n",
        '[base]\nurl = "a"\n',
        '[base]\nsha256 = "b"\n',
        '[base]\nurl = 1\nsha256 = "b"\n',
        'base = { url = "a", sha256 = "b" }\n',
        'base.url = "a"\nbase.sha256 = "b"\n',
        '[base]\nurl = """\na"""\nsha256 = "b"\n',
        '[[base]]\nurl = "a"\nsha256 = "b"\n',
        "[base\n",
    ]:
        with subtests.test(text=text), pytest.raises(InputError, match=r"cannot be changed alone in x\.toml"):
            repinned(text, URL, SHA256, "x.toml")
