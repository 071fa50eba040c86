"""What a roll-out changes: this repository's manifest, records and changelog, and FountainKit's manifest."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self, get_args

from ci.github.answers import Commit
from ci.github.client import GitHub
from ci.github.files import RepositoryFile, Snapshot
from ci.host.errors import InputError, RefusedError
from ci.records.manifest_edit import replace_image
from ci.records.manifest_rules import Document, read_manifest
from ci.records.release import Form, ReleaseRecord, image_fields, whole_manifest
from ci.records.version import Version
from ci.release import changelog, notes
from ci.release.publish import require_open
from ci.release.read_back import PublishedRelease
from ci.release.rollout import ProposedChange, branch_name

MANIFEST = "manifests/tools.json"
CHANGELOG = "docs/releases.md"
CONSUMER_MANIFEST = ".toolsmith/tools.json"

FOUNTAINKIT_MANIFEST = "FOUNTAINKIT_MANIFEST"
FOUNTAINKIT_FORM = "FOUNTAINKIT_FORM"
ROLLED_OUT = "the manifest points to this release already"

# Toolsmith reads no file of another name: docs/consuming.md.
_MANIFEST_PATH = re.compile(r"(?:(?!\.{1,2}/|(?i:\.git)/)[A-Za-z0-9._-]{1,100}/){0,8}tools\.json")
_TAG_IN_URL = re.compile(r"/releases/download/([^/]+)/[^/]+\Z")
_ASSET_URL = re.compile(r"(?P<server>https?://.+)/(?P<repository>[^/]+/[^/]+)(?P<file>/releases/download/[^/]+/[^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerManifest:
    """Where FountainKit has its manifest, and in which form it gets an image; `create`: it is made where it is not."""

    path: str = CONSUMER_MANIFEST
    form: Form = "url"
    create: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """As the variables have it; who names the path has it made. Raises InputError."""
        path, form = (environ.get(name, "") for name in (FOUNTAINKIT_MANIFEST, FOUNTAINKIT_FORM))
        if path and not _MANIFEST_PATH.fullmatch(path):
            raise InputError(
                f"{FOUNTAINKIT_MANIFEST} is {path!r}, which no manifest in a repository is called",
                hint=f"It is the path of a file tools.json, such as {CONSUMER_MANIFEST}.",
            )
        known: dict[str, Form] = {one: one for one in get_args(Form)}
        if (chosen := known.get(form or "url")) is None:
            raise InputError(f"{FOUNTAINKIT_FORM} is {form!r}", hint=f"It is one of {', '.join(known)}.")
        return cls(path=path or CONSUMER_MANIFEST, form=chosen, create=bool(path))

    @property
    def workspace(self) -> str:
        """The folder, in the repository, that Toolsmith has its cache in."""
        folder = PurePosixPath(self.path).parent
        return str(folder.parent if folder.name == ".toolsmith" else folder)


def own(github: GitHub, published: PublishedRelease) -> ProposedChange | str:
    """The change to this repository, or why there is none."""
    base, head = default_branch(github)
    record = published.at_home(github.context)
    files = Snapshot(github, head)
    manifest = text_of(files.find(MANIFEST), github, MANIFEST)
    if is_rolled_out(read_manifest(manifest.encode(), MANIFEST)["image"], record, github.is_called):
        return ROLLED_OUT
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


def fountainkit(
    github: GitHub, published: PublishedRelease, home: GitHub, wanted: ConsumerManifest
) -> ProposedChange | str:
    """The change to the consumer's manifest, of the image's fields only, or why there is none.

    `home` is the release's repository.
    """
    record = published.at_home(home.context)
    base, head = default_branch(github)
    file = Snapshot(github, head).find(wanted.path)
    if file.data is not None or file.path != wanted.path:  # or it is behind a link that leads nowhere
        manifest = text_of(file, github, wanted.path)
        if is_rolled_out(read_manifest(manifest.encode(), wanted.path)["image"], record, home.is_called):
            return ROLLED_OUT
        text = replace_image(manifest, image_fields(record, wanted.form), wanted.path)
    elif wanted.create:
        text = whole_manifest(record, wanted.form)
    else:
        return f"it has no {wanted.path}, so there is nothing to roll out to; {FOUNTAINKIT_MANIFEST} has one made"
    return ProposedChange(
        tag=record.tag,
        subject=f"the roll-out of {record.tag}",
        base=base,
        head=head,
        branch=f"toolsmith-image/{record.tag}",
        files={file: text},
        title=f"Use Toolsmith image {record.tag}",
        body=notes.consumer_pull_request(
            record, wanted.path, workspace=wanted.workspace, form=wanted.form, made=file.data is None
        ),
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
    if image["qcow2_sha256"] != qcow2.sha256 or not leads_to(_address(image), qcow2.url, is_called):
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
    found = _TAG_IN_URL.search(_address(image))
    for text in (image.get("version", ""), found[1] if found else ""):
        try:
            return Version.parse(text)
        except InputError:
            continue
    return None


def _address(image: Document) -> str:
    """Where a manifest's image is: of one that is named by its file, what is remembered of it."""
    remembered: str = image.get("qcow2_url", "")
    return remembered if remembered.rpartition("/")[2] == image["qcow2"] else image["qcow2"]


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
