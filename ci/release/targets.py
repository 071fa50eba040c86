"""What a roll-out changes: this repository's manifest, records and changelog, and FountainKit's manifest."""

import re

from ci.github.answers import Commit
from ci.github.client import GitHub
from ci.host.errors import InputError, RefusedError
from ci.records.manifest_edit import replace_image
from ci.records.manifest_rules import Document, read_manifest
from ci.records.release import ReleaseRecord, image_fields
from ci.records.version import Version
from ci.release import changelog, notes
from ci.release.publish import require_open
from ci.release.rollout import ProposedChange, branch_name

MANIFEST = "manifests/tools.json"
CHANGELOG = "docs/releases.md"
CONSUMER_MANIFEST = ".toolsmith/tools.json"

_TAG_IN_URL = re.compile(r"/releases/download/([^/]+)/[^/]+\Z")


def own(github: GitHub, record: ReleaseRecord) -> ProposedChange | None:
    """The change to this repository; None where its manifest points to the release already."""
    base, head = default_branch(github)
    if (manifest := _older_manifest(github, MANIFEST, head, record)) is None:
        return None
    log = text_at(github, CHANGELOG, head)
    return ProposedChange(
        tag=record.tag,
        subject=f"the roll-out of {record.tag}",
        base=base,
        head=head,
        before={MANIFEST: manifest, CHANGELOG: log},
        branch=branch_name(record.tag),
        files=own_files(record, manifest, log),
        title=f"Roll out {record.tag}",
        body=notes.pull_request(record),
    )


def own_files(record: ReleaseRecord, manifest: str, log: str) -> dict[str, str]:
    """The files of this repository after the roll-out, by path; `manifest` and `log` are two of them before it."""
    return {
        MANIFEST: replace_image(manifest, image_fields(record), MANIFEST, add=True),
        CHANGELOG: changelog.with_entry(log, record.tag, notes.changelog_entry(record), CHANGELOG),
        f"releases/{record.tag}.md": notes.release_page(record),
        f"releases/{record.tag}.json": record.to_json(),
    }


def fountainkit(github: GitHub, record: ReleaseRecord) -> ProposedChange | None:
    """The change to the consumer's manifest, of the image's fields only; None where it is there already."""
    base, head = default_branch(github)
    if (manifest := _older_manifest(github, CONSUMER_MANIFEST, head, record)) is None:
        return None
    return ProposedChange(
        tag=record.tag,
        subject=f"the roll-out of {record.tag}",
        base=base,
        head=head,
        before={CONSUMER_MANIFEST: manifest},
        branch=f"toolsmith-image/{record.tag}",
        files={CONSUMER_MANIFEST: replace_image(manifest, image_fields(record), CONSUMER_MANIFEST)},
        title=f"Use Toolsmith image {record.tag}",
        body=notes.consumer_pull_request(record, CONSUMER_MANIFEST),
    )


def _older_manifest(github: GitHub, path: str, head: Commit, record: ReleaseRecord) -> str | None:
    """The manifest's text; None where it points to the release already."""
    text = text_at(github, path, head)
    return None if is_rolled_out(read_manifest(text.encode(), path)["image"], record) else text


def is_rolled_out(image: Document, record: ReleaseRecord) -> bool:
    """True where a manifest's image is the release's; raises RefusedError where it is a newer one's, or differs."""
    version = manifest_version(image)
    if version is None or version < Version.parse(record.tag):
        return False
    if version > Version.parse(record.tag):
        raise RefusedError(
            f"the manifest points to {version}, which is newer than {record.tag}",
            hint="Nothing was changed. To go back to an older image, revert the newer roll-out: docs/releasing.md.",
        )
    qcow2 = record.image.qcow2
    if (image["qcow2"], image["qcow2_sha256"]) != (qcow2.url, qcow2.sha256):
        raise RefusedError(
            f"the manifest points to {record.tag} already, with another URL or digest",
            hint="Somebody edited it. Compare it with the release, and correct the one that is wrong.",
        )
    return True


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


def text_at(github: GitHub, path: str, head: Commit, hint: str = "see manifests/README.md") -> str:
    """A file of a commit of the default branch; raises InputError where there is none, or no text."""
    data = github.read_file(path, head.sha)
    where = f"{path} of {github.context.repository}"
    if data is None:
        raise InputError(f"there is no {where}", hint=f"The default branch must have it; {hint}.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8: {error}", hint="Correct it on the default branch.") from error
