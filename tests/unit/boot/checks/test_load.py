import re

import pytest

from ci.boot.checks.check import accepts_nothing
from ci.boot.checks.load import CHECKS, checks_of, read_chapters
from ci.boot.image_file import DISK_GIB
from ci.boot.scenarios import (
    CLOCK_SECONDS,
    EXPORT_TAG,
    GIVE_ROOT_THE_KEY,
    KNOWN_FILES,
    LIVE_FILE,
    SEED_HOSTNAME,
    SEED_MARKER,
)
from ci.machine.ssh import WORKSPACE_TAG

BOOTS = {"image", "full", "clone", "consumer", "seed", "full+clone"}
# Their answers are made by a boot, or are in a build record.
KNOWN_LATER = {"authorized-keys", "image-json", "share-readable", "share-names", "share-private", "seed-file"}

ENTRY = """\
[words]
X = "hello"
[[section]]
title = "one"
intro = ""
[section.check.first]
title = "The first"
boots = ["full"]
why = "Because."
look_for = "There."
"""


def test_each_check_says_what_it_guards_how_and_where_to_look(subtests: pytest.Subtests) -> None:
    for check_id, check in CHECKS.items():
        with subtests.test(check_id=check_id):
            assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", check.id)
            assert set(check.boots) <= BOOTS
            assert check.boots
            for text in (check.title, check.expected.words, check.why, check.look_for):
                assert text.strip() == text != ""
            assert bool(check.command) != bool(check.by_hand)
            assert "@" not in re.sub(
                r'"@\$|\[@#\]|serial-getty@|fountain@127|root@127', "", f"{check.command}{check.by_hand}"
            )


def test_only_answers_of_the_moment_are_left_to_the_boots() -> None:
    assert {
        check.id for check in CHECKS.values() if check.command and check.expected.accepts is accepts_nothing
    } == KNOWN_LATER


def test_the_start_is_over_before_anything_else_is_asked() -> None:
    for boot in ("full", "clone", "consumer", "seed"):
        assert next(check.id for check in checks_of(boot) if check.command) == "system-running"


def test_the_commands_name_what_the_boots_make() -> None:
    assert [CHECKS[name].command for name in ("share-readable", "share-names")] == [
        f"cat /mnt/{WORKSPACE_TAG}/{KNOWN_FILES[0]}",
        f"cat '/mnt/{WORKSPACE_TAG}/{KNOWN_FILES[1]}'",
    ]
    assert CHECKS["seed-file"].command == f"cat {SEED_MARKER}"
    assert CHECKS["seed-hostname"].expected.accepts(SEED_HOSTNAME)
    assert f"/mnt/{EXPORT_TAG}/from-guest" in CHECKS["share-writable"].by_hand
    assert f"/mnt/{WORKSPACE_TAG}/{LIVE_FILE}" in CHECKS["share-live"].by_hand
    assert GIVE_ROOT_THE_KEY.replace(" -n", "") in CHECKS["root-login-refused"].by_hand


def test_the_words_name_the_limits_that_the_boot_test_has() -> None:
    assert CHECKS["virtual-size"].expected.words == f"{DISK_GIB} GiB"
    assert CHECKS["clock"].expected.words == f"at most {CLOCK_SECONDS:g} s from the host's"


def test_a_word_stands_for_its_text() -> None:
    (chapter,) = read_chapters(ENTRY + 'command = "echo @X@"\nprints = "@X@"')
    (check,) = chapter.checks
    assert check.command == "echo hello"
    assert check.expected.accepts("hello")


@pytest.mark.parametrize(
    "rest",
    [
        'command = "true"',
        'command = "true"\nprints = ""\nby_hand = "Look."',
        'command = "true"\nprints = 1',
        'command = "true"\nprints = { patern = "x" }',
        'command = "true"\nprints = ""\nwhy_not = "?"',
        'expected = "yes"',
    ],
)
def test_a_check_that_is_not_whole_is_an_error(rest: str) -> None:
    with pytest.raises((TypeError, ValueError, KeyError)):
        read_chapters(ENTRY + rest)


def test_two_checks_of_one_name_are_an_error() -> None:
    text = ENTRY + 'command = "true"\nprints = ""\n'
    with pytest.raises(ValueError, match="more than one check is called first"):
        read_chapters(text + text[text.index("[[section]]") :])
