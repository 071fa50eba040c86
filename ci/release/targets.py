"""What a roll-out changes: this repository's manifest, records and changelog, and FountainKit's manifest."""

import re
from collections.abc import Callable

from ci.github.answers import Commit
from ci.github.client import GitHub
from ci.github.files import RepositoryFile, Snapshot
from ci.host.errors import InputError, RefusedError
from ci.records.manifest_edit import replace_image
from ci.records.manifest_rules import Document, read_manifest
from ci.records.release import ReleaseRecord, image_fields
from ci.records.version import Version
from ci.release import changelog, notes
from ci.release.publish import require_open
from ci.release.read_back import PublishedRelease
from ci.release.rollout import ProposedChange, branch_name

MANIFEST = "manifests/tools.json"
CHANGELOG = "docs/releases.md"
CONSUMER_MANIFEST = ".toolsmith/tools.json"

_TAG_IN_URL = re.compile(r"/releases/download/([^/]+)/[^/]+\Z")
_ASSET_URL = re.compile(r"(?P<server>https?://.+)/(?P<repository>[^/]+/[^/]+)(?P<file>/releases/download/[^/]+/[^/]+)")


def own(github: GitHub, published: PublishedRelease) -> ProposedChange | None:
    """The change to this repository; None where its manifest points to the release already."""
    base, head = default_branch(github)
    record = published.at_home(github.context)
    files = Snapshot(github, head)
    manifest = text_of(files.find(MANIFEST), github, MANIFEST)
    if is_rolled_out(read_manifest(manifest.encode(), MANIFEST)["image"], record, github.is_called):
        return None
    log = text_of(files.find(CHANGELOG), github, CHANGELOG)
    return ProposedChange(
        tag=record.tag,
        subject=f"the roll-out of {record.tag}",
        base=base,
        head=head,
        branch=branch_name(record.tag),
        files={files.find(path): text for path, text in own_files(record, published.text, manifest, log).items()},
        title=f"Roll out {record.tag}",
        body=notes.pull_request(record),
    )


def own_files(record: ReleaseRecord, published: str, manifest: str, log: str) -> dict[str, str]:
    """The files of this repository after the roll-out, by path; `manifest` and `log` are two of them before it.

    `published` is the record's text as it was released.
    """
    return {
        MANIFEST: replace_image(manifest, image_fields(record), MANIFEST, add=True),
        CHANGELOG: changelog.with_entry(log, record.tag, notes.changelog_entry(record), CHANGELOG),
        f"releases/{record.tag}.md": notes.release_page(record),
        f"releases/{record.tag}.json": published,
    }


def fountainkit(github: GitHub, published: PublishedRelease, home: GitHub) -> ProposedChange | None:
    """The change to the consumer's manifest, of the image's fields only; None where it is there already.

    `home` is the release's repository.
    """
    record = published.at_home(home.context)
    base, head = default_branch(github)
    file = Snapshot(github, head).find(CONSUMER_MANIFEST)
    manifest = text_of(file, github, CONSUMER_MANIFEST)
    if is_rolled_out(read_manifest(manifest.encode(), CONSUMER_MANIFEST)["image"], record, home.is_called):
        return None
    return ProposedChange(
        tag=record.tag,
        subject=f"the roll-out of {record.tag}",
        base=base,
        head=head,
        branch=f"toolsmith-image/{record.tag}",
        files={file: replace_image(manifest, image_fields(record), CONSUMER_MANIFEST)},
        title=f"Use Toolsmith image {record.tag}",
        body=notes.consumer_pull_request(record, CONSUMER_MANIFEST),
    )


def is_rolled_out(image: Document, record: ReleaseRecord, is_called: Callable[[str], bool | None]) -> bool:
    """True where a manifest's image is the release's; raises RefusedError where it is a newer one's, or differs.

    `is_called` tells the names of the release's repository: a manifest may have one of before it was renamed.
    """
    version = manifest_version(image)
    if version is None or version < Version.parse(record.tag):
        return False
    if version > Version.parse(record.tag):
        raise RefusedError(
            f"the manifest points to {version}, which is newer than {record.tag}",
            hint="Nothing was changed. To go back to an older image, revert the newer roll-out: docs/releasing.md.",
        )
    qcow2 = record.image.qcow2
    if image["qcow2_sha256"] != qcow2.sha256 or not leads_to(image["qcow2"], qcow2.url, is_called):
        raise RefusedError(
            f"the manifest points to {record.tag} already, with another URL or digest",
            hint="Somebody edited it. Compare it with the release, and correct the one that is wrong.",
        )
    return True


def leads_to(url: str, expected: str, is_called: Callable[[str], bool | None] = lambda _name: True) -> bool:
    """Whether an address of a file is the one expected, but for the repository's name: it may have been renamed."""
    if url == expected:
        return True
    found, wanted = _ASSET_URL.fullmatch(url), _ASSET_URL.fullmatch(expected)
    if found is None or wanted is None or (found["server"], found["file"]) != (wanted["server"], wanted["file"]):
        return False
    return bool(is_called(found["repository"]))


def manifest_version(image: Document) -> Version | None:
    """The version of a manifest's image: as it says, or by its URL, as FountainKit's does; None where neither tells."""
    found = _TAG_IN_URL.search(image["qcow2"])
    for text in (image.get("version", ""), found[1] if found else ""):
        try:
            return Version.parse(text)
        except InputError:
            continue
    return None


def default_branch(github: GitHub) -> tuple[str, Commit]:
    """The default branch and its head; raises RefusedError where nobody could open a pull request."""
    repository = github.repository()
    require_open(repository)
    head = github.branch(repository.default_branch)
    if head is None:
        raise RefusedError(f"{repository.full_name} has no commit yet", hint="Push its main branch first.")
    return repository.default_branch, head


def text_of(file: RepositoryFile, github: GitHub, path: str, hint: str = "see manifests/README.md") -> str:
    """The text of what the default branch has at `path`; raises InputError where it has nothing there, or no text."""
    where = f"{path} of {github.context.repository}"
    if file.data is None:
        raise InputError(f"there is no {where}", hint=f"The default branch must have it; {hint}.")
    try:
        return file.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8: {error}", hint="Correct it on the default branch.") from error
