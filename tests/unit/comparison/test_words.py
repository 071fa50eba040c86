import pytest
from markdown_it import MarkdownIt

from ci.comparison.difference import Difference, SetChanges
from ci.comparison.image_facts import difference, of_packages
from ci.comparison.words import configuration_summary, markdown, text
from ci.records.packages import Package
from tests.support.releasing import PACKAGES, build_record, validation_report
from tests.unit.comparison.test_image_facts import GIT, build, built, check

HOSTILE = "a | b` <b>x</b> @someone\n# Heading \x1b[31m [x](https://evil.example)"


def test_everything_that_changed_is_in_the_text() -> None:
    old = build(inputs={"build/guest/a": "1" * 64})
    record = build_record(
        inputs={"build/guest/a": "2" * 64}, definition_sha256="e" * 64, kernel="6.1.0-2", authorized_keys=["SHA256:k"],
        image=build_record().image.model_copy(update={"size": 3_000_000}),
    )  # fmt: skip
    new = built("new", record, (PACKAGES[0], GIT), validation_report(record, checks=[check("ssh")]))
    lines = text(difference(old, new)).splitlines()
    for line in (
        "kernel          6.1.0-1-amd64",
        "image file      0.0 MB",
        "installed size  39.6 MiB",
        "git      1:2.39.2-1  1:2.40",
        "git      39.1 MiB  58.6 MiB  +19.5 MiB, +50.0 %",
        "changed  build/guest/a",
        "added  SHA256:k",
        "full  image-json  passed  -",
        "full      20.0 s  21.5 s  +1.5 s, +7.5 %",
    ):
        assert any(one.startswith(line) for one in lines), line


def test_two_of_the_same_say_so_in_few_words() -> None:
    told = text(difference(build(), build()))
    assert "Nothing that could be compared differs" in told
    assert "Packages: the same." in told
    assert "Checks\n" not in told


def test_what_could_not_be_compared_is_said() -> None:
    told = text(difference(build("tcg"), build("kvm")))
    assert "Time to start: not compared, tested with `tcg` and with `kvm`." in told
    lone = text(difference(of_packages("a", PACKAGES), build()))
    for words in ("Configuration: not known.", "Checks: not compared", "Time to start: not compared, a boot test"):
        assert words in lone
    untold = text(difference(built("a", build_record(), None, None), build()))
    assert "Packages: not compared" in untold


def hostile(word: str) -> Difference:
    """A difference in which everything foreign is `word`."""
    package = Package(name=word, version=f"1{word}", architecture=word, installed_kib=2000)
    record = build_record(
        name=word, version=word, commit=word, kernel=word, authorized_keys=[word], inputs={word: "1" * 64},
        base=build_record().base.model_copy(update={"url": word}),
    )  # fmt: skip
    boots = [validation_report(record).boots[0].model_copy(update={"name": word})]
    report = validation_report(record, accelerator=word, boots=boots, checks=[check(word, boot=word)])
    new = built(word, record, (package,), report)
    old = record.model_copy(update={"authorized_keys": [], "inputs": {}, "kernel": "k", "definition_sha256": "1" * 64})
    return difference(built(word, old, (), report.model_copy(update={"checks": []})), new)


def test_nothing_foreign_gets_out_of_its_place() -> None:
    parser = MarkdownIt("commonmark").enable("table")
    tokens = [
        [
            (child.type, child.tag, child.attrs)
            for token in parser.parse(markdown(found))
            for child in (token, *(token.children or []))
        ]
        for found in (hostile(HOSTILE), hostile("benign"))
    ]
    assert tokens[0] == tokens[1]
    assert all(line.isprintable() for line in text(hostile(HOSTILE)).splitlines())
    assert len(text(hostile(HOSTILE)).splitlines()) == len(text(hostile("benign")).splitlines())


def test_the_json_is_the_whole_of_it() -> None:
    found = hostile(HOSTILE)
    assert Difference.model_validate_json(found.to_json()) == found


FILES = SetChanges(added=("a",), removed=(), changed=("b", "c"))


@pytest.mark.parametrize(
    ("changed", "files", "words"),
    [
        (None, None, "not known"),
        (False, None, "unchanged"),
        (True, None, "changed"),
        (True, SetChanges(added=(), removed=()), "changed (who may run a file)"),
        (True, FILES, "changed (1 added, 2 changed: `a`, `b`, `c`)"),
    ],
)
def test_the_configuration_is_summed_up(changed: bool | None, files: SetChanges | None, words: str) -> None:  # noqa: FBT001
    assert configuration_summary(changed, files) == words


def test_of_many_files_the_first_are_named() -> None:
    many = SetChanges(added=(), removed=(), changed=tuple(f"{number:02}" for number in range(40)))
    assert configuration_summary(True, many).endswith("`11` and 28 more)")  # noqa: FBT003
