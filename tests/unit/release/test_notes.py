import json
import re
import shlex
from datetime import UTC, datetime

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ci.comparison.packages import compare
from ci.host.errors import InputError
from ci.records.manifest_rules import read_manifest
from ci.records.packages import Package, PackageDiff
from ci.records.release import (
    AssetRecord,
    AttestationRecord,
    ImageRelease,
    ReleaseFacts,
    ReleaseRecord,
    ValidationSummary,
)
from ci.release import notes
from ci.release.changelog import with_entry
from tests.support import release_records
from tests.support.release_records import COMMIT, NAME, REPOSITORY, SITE

TAG = "v2026.11.23"
STEM = f"{NAME}-{TAG}"

HOSTILE = [
    "`code` ```",
    "a | b \\| c",
    "\n\n# Heading\n\n> quote",
    "<script>alert(1)</script><!-- x -->",
    "[text](https://evil.example) ![x](https://evil.example/x.png) <https://evil.example>",
    "@someone fixes #1 evil.example www.evil.example",
    "\x1b[31m\x00\u202e\u2028",
    "'; $(reboot) `reboot` \"",
    "*bold* _it_ ~~s~~ &lt; &#64;x",
    "```\n# out",
]


def asset(ending: str, digest: str = "a", size: int = 1000) -> AssetRecord:
    return release_records.make_asset(TAG, ending, digest, size)


def make_image(**changes: object) -> ImageRelease:
    qcow2 = asset(".qcow2", "1", 658_000_000)
    endings = (".qcow2.sha256", ".packages.tsv", ".build.json", ".validation.md", ".validation.json", ".validation.xml")
    image = release_records.make_image(TAG, size=qcow2.size)
    own: dict[str, object] = {
        "built_at": datetime(2026, 11, 23, 8, tzinfo=UTC),
        "base": image.base.model_copy(update={"url": "https://cloud-images.example/release-20261101/base.img"}),
        "assets": [qcow2, *(asset(ending) for ending in endings), asset(".console.png")],
    }
    return image.model_copy(update=own | changes)


ENSURE_VM = AssetRecord(
    name="ensure-vm.pyz", sha256="e" * 63 + "f", size=2000, url=f"{SITE}/releases/download/{TAG}/ensure-vm.pyz"
)


def make_record(**changes: object) -> ReleaseRecord:
    own: dict[str, object] = {"previous": PREVIOUS, "changes": DIFF, "ensure_vm": ENSURE_VM}
    return release_records.make_record(TAG, make_image()).model_copy(update=own | changes)


def package(name: str, version: str = "1") -> Package:
    return Package(name=name, version=version, architecture="amd64", installed_kib=1024)


PREVIOUS = ReleaseFacts(
    tag="v2026.11.01",
    url=f"{SITE}/releases/tag/v2026.11.01",
    name=NAME,
    base_url="https://cloud-images.example/release-20261001/base.img",
    base_sha256="e" * 64,
    definition_sha256="d" * 64,
    inputs={},
    qcow2_sha256="2" * 64,
    qcow2_size=650_000_000,
    kernel="5.15.0-180-generic",
)
DIFF = compare(
    [package("bash"), package("curl", "2"), package("git", "1:2.39"), package("nano")],
    [package("bash"), package("curl", "1"), package("git", "1:2.40"), package("jq")],
)


def texts(record: ReleaseRecord) -> dict[str, str]:
    """Every text of a release, by what it is."""
    return {
        "notes": notes.release_notes(record),
        "page": notes.release_page(record),
        "entry": notes.changelog_entry(record),
        "pull request": notes.pull_request(record),
        "consumer's": notes.consumer_pull_request(record, ".toolsmith/tools.json"),
    }


KINDS = list(texts(make_record()))


def tokens(markdown: str) -> list[Token]:
    parsed = MarkdownIt("commonmark").enable("table").parse(markdown)
    return [child for token in parsed for child in (token, *(token.children or []))]


def commands(markdown: str) -> list[list[str]]:
    """The shell commands in the text, as words."""
    blocks = [token.content for token in tokens(markdown) if token.type == "fence" and token.info == "sh"]
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def plain(markdown: str) -> str:
    return " ".join(token.content for token in tokens(markdown) if token.type == "text")


@pytest.mark.parametrize("kind", KINDS)
class TestEveryText:
    def test_it_names_the_tag_the_image_and_its_digest(self, kind: str) -> None:
        text = texts(make_record())[kind]
        assert TAG in text
        assert f"{SITE}/releases/download/{TAG}/{STEM}.qcow2" in text
        assert "1" * 64 in text

    def test_it_tells_what_changed(self, kind: str) -> None:
        text = texts(make_record())[kind]
        assert "1 added, 1 removed, 1 upgraded, 1 downgraded" in text
        assert "release-20261001" in text
        assert "release-20261101" in text
        assert "5.15.0-180-generic" in text
        assert "5.15.0-190-generic" in text
        assert "Configuration: unchanged" in text

    def test_an_unchanged_base_is_said_to_be_so(self, kind: str) -> None:
        same = PREVIOUS.model_copy(
            update={"base_url": make_image().base.url, "base_sha256": "b" * 64, "kernel": make_image().kernel}
        )
        text = texts(make_record(previous=same))[kind]
        assert "before that" not in text
        assert re.search(r"Base image: (unchanged|the same as in v2026\.11\.01)", text)

    def test_a_base_of_the_same_name_with_other_bytes_is_a_change(self, kind: str) -> None:
        renewed = PREVIOUS.model_copy(update={"base_url": make_image().base.url})
        assert "e" * 64 in texts(make_record(previous=renewed))[kind]

    def test_a_changed_configuration_links_to_the_commits(self, kind: str) -> None:
        changed = PREVIOUS.model_copy(update={"definition_sha256": "f" * 64})
        text = texts(make_record(previous=changed))[kind]
        assert (
            f"Configuration: changed (who may run a file), see [the commits]({SITE}/compare/v2026.11.01...{TAG})"
            in text
        )

    def test_the_files_that_changed_are_named(self, kind: str) -> None:
        before = {"build/guest/a": "1" * 64, "build/guest/b": "2" * 64}
        changed = PREVIOUS.model_copy(update={"definition_sha256": "f" * 64, "inputs": before})
        image = make_image(inputs={"build/guest/a": "1" * 64, "build/guest/b": "3" * 64, "build/guest/c": "4" * 64})
        text = texts(make_record(image=image, previous=changed))[kind]
        words = "Configuration: changed (1 added, 1 changed: `build/guest/c`, `build/guest/b`), see [the commits]("
        assert words in text

    def test_the_first_release_says_so(self, kind: str) -> None:
        text = texts(make_record(changes=None, previous=None))[kind]
        assert "first release" in text
        assert "v2026.11.01" not in text
        assert "rm -r" not in text

    def test_packages_that_could_not_be_compared_are_not_passed_over(self, kind: str) -> None:
        text = texts(make_record(changes=None))[kind]
        assert "Packages: not compared" in text
        assert "v2026.11.01" in text

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_nothing_from_outside_gets_out_of_its_place(self, kind: str, hostile: str) -> None:
        """A hostile release renders as a benign one does: the same headings, links, tables, lists and HTML."""
        evil, benign = texts(hostile_release(hostile))[kind], texts(hostile_release("benign"))[kind]
        structure = [[(token.type, token.tag, token.attrs) for token in tokens(text)] for text in (evil, benign)]
        assert structure[0] == structure[1]
        assert plain(evil) == plain(benign)
        html = [[token.content for token in tokens(text) if "html" in token.type] for text in (evil, benign)]
        assert html[0] == html[1]
        assert [len(words) for words in commands(evil)] == [len(words) for words in commands(benign)]
        assert evil.replace("\n", "").isprintable()

    def test_no_line_of_prose_is_broken(self, kind: str) -> None:
        """GitHub shows a line break in a release or a pull request as one."""
        breaks = [token for token in tokens(texts(make_record())[kind]) if token.type in {"softbreak", "hardbreak"}]
        assert breaks == []


def hostile_release(text: str) -> ReleaseRecord:
    """A release where everything that is not checked elsewhere is `text`; URLs that nobody can follow stay unlinked."""
    unlinked = f"x:{text}"
    # A record that is read would not have such names.
    file, report, listing = (
        AssetRecord.model_construct(name=f"{text}{ending}", sha256="1" * 64, size=1, url=unlinked)
        for ending in ("", ".validation.md", ".packages.tsv")
    )
    image = make_image(
        name=text,
        distribution=text,
        kernel=f"{text}new",
        definition_sha256="f" * 64,
        inputs={text: "1" * 64},
        base=make_image().base.model_copy(update={"url": text, "verified_by": text}),
        qcow2=file,
        assets=[file, report, listing],
        validation=ValidationSummary(passed=1, skipped=0, accelerator=text, ssh_seconds={text: 1.0}),
    )
    previous = PREVIOUS.model_copy(
        update={"url": unlinked, "name": text, "base_url": text, "kernel": text, "inputs": {}}
    )
    bad = Package(name=text, version=f"1{text}", architecture=text, installed_kib=1)
    changes = PackageDiff(added=(bad,), removed=(bad,), upgraded=(), downgraded=(), old_kib=1, new_kib=1)
    return make_record(
        repository=text,
        url=unlinked,
        commit=text,
        run=unlinked,
        image=image,
        others=[image],
        ensure_vm=file,
        previous=previous,
        changes=changes,
    )


def test_the_notes_list_every_file_with_size_and_digest() -> None:
    other = make_image(name="fountainkit-toolsmith-ubuntu-2404", assets=[asset(".other", "9", 1_234_567)])
    text = notes.release_notes(make_record(others=[other]))
    rows = [line for line in text.splitlines() if line.startswith(f"| [`{STEM}")]
    assert len(rows) == len(make_image().assets) + 1
    assert f"| [`{STEM}.other`]({SITE}/releases/download/{TAG}/{STEM}.other)<br>`{'9' * 64}` | 1,234,567 |" in rows


def test_the_notes_sum_up_the_boot_test() -> None:
    text = notes.release_notes(make_record())
    assert f"`{NAME}`: 57 checks passed, 2 skipped, with `kvm`. Reports: [`{STEM}.validation.md`]" in text
    assert f"| `{NAME}` | `full` | 5.2 s |" in text
    assert f"| `{NAME}` | `consumer` | 7.0 s |" in text


@pytest.mark.parametrize("kind", ["notes", "page", "pull request", "consumer's"])
def test_the_commands_download_and_verify_the_image(kind: str) -> None:
    found = commands(texts(make_record())[kind])
    url = f"{SITE}/releases/download/{TAG}/{STEM}.qcow2"
    assert ["curl", "--fail", "--location", "--output", f"{STEM}.qcow2", url] in found
    assert ["echo", f"{'1' * 64}  {STEM}.qcow2", "|", "sha256sum", "--check"] in found
    workflow = f"{REPOSITORY}/.github/workflows/release.yml"
    signed = ["--repo", REPOSITORY, "--signer-workflow", workflow, "--source-digest", make_record().commit]
    assert ["gh", "attestation", "verify", f"{STEM}.qcow2", *signed, "--deny-self-hosted-runners"] in found


def test_after_a_transfer_the_command_has_the_name_that_was_signed() -> None:
    """With today's, `gh` would say that the repository is not the one expected, as of a forgery."""
    url = "https://api.github.com/repos/founders/old/attestations/sha256:1"
    signed = make_image(attestation=AttestationRecord(url=url, predicates=["provenance"]))
    (command,) = [one for one in commands(notes.pull_request(make_record(image=signed))) if one[0] == "gh"]
    assert command[command.index("--repo") + 1] == "founders/old"
    assert command[command.index("--signer-workflow") + 1] == "founders/old/.github/workflows/release.yml"


def test_an_attestation_is_only_spoken_of_where_there_is_one() -> None:
    assert "unproven, and not wrong" in notes.release_notes(make_record())
    text = notes.release_notes(make_record(image=make_image(attestation=None)))
    assert "attestation" not in text
    assert "Where it was built is unproven" in text
    assert "GitHub CLI" not in text


@pytest.mark.parametrize("kind", ["notes", "page", "consumer's"])
def test_consumers_learn_how_to_fetch_the_image_without_the_repository(kind: str) -> None:
    found = commands(texts(make_record())[kind])
    start = found.index(["curl", "--fail", "--location", "--output", "ensure-vm.pyz", ENSURE_VM.url])
    assert found[start + 1 : start + 3] == [
        ["echo", f"{ENSURE_VM.sha256}  ensure-vm.pyz", "|", "sha256sum", "--check"],
        ["python3", "ensure-vm.pyz", "--localize"],
    ]


@pytest.mark.parametrize("kind", ["notes", "page", "consumer's"])
def test_consumers_learn_where_the_image_goes_and_what_may_go(kind: str) -> None:
    found = commands(texts(make_record())[kind])
    folder = f".toolsmith/cache/{NAME}/{'1' * 64}"
    assert ["mkdir", "-p", folder] in found
    verified = ["echo", f"{'1' * 64}  {STEM}.qcow2", "|", "sha256sum", "--check"]
    assert [*verified, "&&", "mv", f"{STEM}.qcow2", folder] in found
    assert ["rm", "-r", f".toolsmith/cache/{NAME}/{'2' * 64}"] in found


def test_the_folder_of_the_very_same_image_may_not_go() -> None:
    same = PREVIOUS.model_copy(update={"qcow2_sha256": "1" * 64})
    assert "rm -r" not in notes.release_notes(make_record(previous=same))


@pytest.mark.parametrize("kind", ["notes", "page"])
def test_the_snippet_is_a_manifests_image(kind: str) -> None:
    (snippet,) = [token.content for token in tokens(texts(make_record())[kind]) if token.info == "json"]
    document = json.loads(snippet) | {"tools": {}, "operations": []}
    image = read_manifest(json.dumps(document).encode(), "snippet")["image"]
    assert (image["name"], image["version"], image["size"]) == (NAME, TAG, 658_000_000)
    assert image["qcow2"] == make_image().qcow2.url
    assert image["qcow2_sha256"] == "1" * 64


def test_the_entry_names_what_was_added_and_removed() -> None:
    text = notes.changelog_entry(make_record())
    assert "- Added: `jq`." in text
    assert "- Removed: `nano`." in text
    assert f"[releases/{TAG}.md](../releases/{TAG}.md)" in text


def test_the_entry_stays_short_whatever_was_added() -> None:
    many = compare([], [package(f"package-{number}") for number in range(500)])
    text = notes.changelog_entry(make_record(changes=many))
    assert "and 488 more." in text
    assert len(text) < 5000


def test_the_entry_fits_the_changelog() -> None:
    entry = notes.changelog_entry(make_record())
    text = with_entry("# Releases\n\nNothing is released yet.\n", TAG, entry)
    assert text == f"# Releases\n\n{entry}"
    assert with_entry(text, TAG, entry) == text


def test_the_longest_list_of_packages_is_cut_to_what_github_takes() -> None:
    names = [f"{number:05}-{'x' * 180}" for number in range(5000)]
    huge = compare([package(name, "1" * 100) for name in names], [package(name, "2" * 100) for name in names])
    all_texts = texts(make_record(changes=huge))
    assert len(all_texts["notes"].encode()) <= notes.RELEASE_LIMIT < 125_000
    assert len(all_texts["pull request"].encode()) <= notes.PULL_REQUEST_LIMIT < 65_536
    for kind in ("notes", "page", "pull request", "consumer's"):
        text = all_texts[kind]
        rows = sum(line.startswith("| `0") for line in text.splitlines())
        assert rows in notes.PACKAGE_ROWS[:-1]
        assert f"{5000 - rows} more rows are not shown here." in text
        assert f"All packages: [`{STEM}.packages.tsv`]" in text


def test_an_ordinary_upgrade_is_shown_in_full() -> None:
    names = [f"package-{number}" for number in range(250)]
    diff = compare([package(name) for name in names], [package(name, "2") for name in names])
    for kind, text in texts(make_record(changes=diff)).items():
        assert kind == "entry" or all(f"| `{name}` | `1` | `2` |" in text for name in names)


def test_a_record_too_long_for_github_is_refused() -> None:
    image = make_image(assets=[asset(f".{number}") for number in range(1000)])
    with pytest.raises(InputError, match="longer than 100000 bytes"):
        notes.release_notes(make_record(image=image))


@pytest.mark.parametrize("tag", ["latest", "v2026.02.30", "# Heading", ""])
def test_a_tag_that_is_none_is_refused(tag: str) -> None:
    with pytest.raises(InputError):
        notes.release_notes(make_record(tag=tag))
    older = PREVIOUS.model_copy(update={"tag": tag})
    with pytest.raises(InputError):
        notes.release_notes(make_record(previous=older))


def test_a_release_whose_page_is_elsewhere_links_to_no_commit() -> None:
    changed = PREVIOUS.model_copy(update={"definition_sha256": "f" * 64})
    record = make_record(url="https://forge.example/somewhere", previous=changed)
    text = notes.release_notes(record)
    assert "/commit/" not in text
    assert "/compare/" not in text
    assert f"`{COMMIT[:12]}`" in text
