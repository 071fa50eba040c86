"""The texts of a release: its notes, its page, its entry in the changelog, and the pull requests that roll it out.

In the templates every string is foreign and becomes a code span, unless it is `Markdown`; see ci/text/markdown.py.
A paragraph there is one line, because GitHub breaks lines in releases and pull requests where the text does.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment

from ci.comparison import packages
from ci.comparison.image_facts import file_changes
from ci.comparison.words import configuration_summary
from ci.host.errors import InputError
from ci.records import artifacts
from ci.records.packages import Package
from ci.records.release import AssetRecord, Form, ImageRelease, ReleaseRecord, manifest_snippet
from ci.records.version import Version
from ci.text.figures import change, megabytes, seconds
from ci.text.markdown import LIST, Markdown, code, file_link, first, link, shell, table
from ci.text.pages import markdown_templates, rendered

# GitHub takes 125,000 characters for a release and 65,536 for a pull request; here bytes are counted, with a margin.
# https://github.com/ncipollo/release-action/issues/493 and https://github.com/googleapis/release-please/issues/1034
RELEASE_LIMIT = 100_000
PULL_REQUEST_LIMIT = 50_000
PAGE_LIMIT = 500_000
ENTRY_LIMIT = 20_000

# How many rows of packages are tried, until a text is short enough; in the changelog, names.
PACKAGE_ROWS = (3000, 1000, 300, 100, 30, 0)
CHANGELOG_NAMES = 12
MOST_PULLS = 100
EVIDENCE = (
    artifacts.REPORT_MARKDOWN,
    artifacts.REPORT,
    artifacts.REPORT_JUNIT,
    artifacts.CONSOLE_LOG,
    artifacts.SCREENSHOT,
    artifacts.BOOT_CHART,
)


class MergedPull(NamedTuple):
    """A pull request that came with a release; `title` is whatever its author wrote."""

    title: str
    number: int


def release_notes(record: ReleaseRecord, merged: Sequence[MergedPull] | None = ()) -> Markdown:
    """What the release's text says of it; raises InputError for a tag that is no version.

    `merged` are the pull requests since the release before, None where nobody could tell.
    """
    return _render("release_notes.md.j2", record, RELEASE_LIMIT, merged=merged)


def release_page(record: ReleaseRecord) -> Markdown:
    """`releases/<tag>.md`, for people."""
    return _render("release_page.md.j2", record, PAGE_LIMIT)


def changelog_entry(record: ReleaseRecord) -> Markdown:
    """The entry in docs/releases.md, its heading included."""
    return _render("changelog_entry.md.j2", record, ENTRY_LIMIT)


def pull_request(record: ReleaseRecord) -> Markdown:
    """The body of the pull request that rolls out in this repository."""
    return _render("pull_request.md.j2", record, PULL_REQUEST_LIMIT)


def consumer_pull_request(
    record: ReleaseRecord, manifest: str, *, workspace: str = ".", form: Form = "url", made: bool = False
) -> Markdown:
    """The same in the consumer's repository, whose manifest is the file `manifest`, made by it if `made`."""
    consumer = _consumer(record, manifest, workspace, form) | {"made": made}
    return _render("consumer_pull_request.md.j2", record, PULL_REQUEST_LIMIT, **consumer)


def _consumer(record: ReleaseRecord, manifest: str, workspace: str, form: Form) -> dict[str, Any]:
    """What the templates tell a consumer to do, who has this manifest and runs it in the repository's folder."""
    folder = "" if workspace == "." else f"{workspace}/"
    flags = [Markdown(" --workspace {}").format(shell(workspace))] if folder else []
    named = manifest != f"{folder}.toolsmith/tools.json"
    flags += [Markdown(" --manifest {}").format(shell(manifest))] if named else []
    flags += [Markdown(" --localize")] if form == "url" else []
    return {
        "manifest": manifest,
        "form": form,
        "flags": Markdown("").join(flags),
        "cache_folder": f"{folder}.toolsmith/cache/{record.image.name}/{record.image.qcow2.sha256}",
    }


def _render(template: str, record: ReleaseRecord, limit: int, **others: object) -> Markdown:
    consumer = _consumer(record, ".toolsmith/tools.json", ".", "url")
    context, changes = _context(record) | consumer | others, record.changes
    for rows in PACKAGE_ROWS:
        tables = packages.markdown(changes, rows) if changes and record.previous else Markdown("")
        text = rendered(environment(), template, package_tables=tables, **context)
        if len(text.encode()) <= limit:
            return text
    raise InputError(
        f"the text about {record.tag} is longer than {limit} bytes even without the packages",
        hint="Look at the release record: one of its URLs or lists must be absurdly long.",
    )


@cache
def environment() -> Environment:
    """What renders the templates."""
    result = markdown_templates(Path(__file__).parent / "templates")
    result.filters.update(
        asset=_asset,
        checksum_line=lambda asset: f"{asset.sha256}  {asset.name}",
        evidence=_evidence,
        gib=lambda size: Markdown("{:.0f} GiB").format(size / (1 << 30)),
        link=lambda url, text: link(text, url),
        shell=shell,
    )
    return result


def _context(record: ReleaseRecord) -> dict[str, Any]:
    version = Version.parse(record.tag)
    image, images = record.image, record.images
    return _since(record) | {
        "record": record,
        "image": image,
        "images": images,
        "tag": Markdown(version),
        "day": Markdown(version.day.isoformat()),
        "commit": _commit(record),
        "size": megabytes(image.qcow2.size),
        "files": _files(record.assets),
        "most_pulls": MOST_PULLS,
        "boots": _boots(images),
        "package_list": image.file(artifacts.PACKAGES),
        "report": image.file(artifacts.REPORT_MARKDOWN),
        # Of today's name gh would say that it contradicts what was signed under a former one.
        "signer": (image.attestation and image.attestation.repository) or record.repository,
        "snippet": Markdown(manifest_snippet(record)),
    }


def _since(record: ReleaseRecord) -> dict[str, Any]:
    """What the templates say of the release before; `previous` is all they ask for where there is none."""
    image, previous, diff = record.image, record.previous, record.changes
    if previous is None:
        return {"previous": None}
    tag = Markdown(Version.parse(previous.tag))
    same_file = previous.qcow2_sha256 == image.qcow2.sha256
    return {
        "previous": previous,
        "previous_tag": tag,
        "diff": diff,
        "base_changed": (previous.base_url, previous.base_sha256) != (image.base.url, image.base.sha256),
        "configuration": configuration_summary(
            previous.definition_sha256 != image.definition_sha256, file_changes(previous.inputs, image.inputs)
        ),
        "configuration_changed": previous.definition_sha256 != image.definition_sha256,
        "compare": f"{record.home}/compare/{tag}...{record.tag}" if record.home else "",
        "size_change": change(previous.qcow2_size / 1e6, image.qcow2.size / 1e6, "MB"),
        "package_summary": packages.summary(diff) if diff else None,
        "added_names": _names(diff.added) if diff else "",
        "removed_names": _names(diff.removed) if diff else "",
        "old_cache_folder": "" if same_file else f".toolsmith/cache/{previous.name}/{previous.qcow2_sha256}",
    }


def _commit(record: ReleaseRecord) -> Markdown:
    text = code(record.commit[:12])
    return link(text, f"{record.home}/commit/{record.commit}") if record.home else text


def _asset(asset: AssetRecord) -> Markdown:
    return file_link(asset.name, asset.url)


def _evidence(image: ImageRelease) -> Markdown:
    """Links to what the boot test left; empty where it left nothing."""
    return LIST.join(_asset(asset) for asset in image.assets if asset.name.endswith(EVIDENCE))


def _files(assets: Sequence[AssetRecord]) -> Markdown:
    # One below the other: beside each other, name and digest are wider than GitHub's page.
    told = Markdown("{}<br>{}")
    rows = [(told.format(_asset(asset), code(asset.sha256)), Markdown("{:,}").format(asset.size)) for asset in assets]
    return table(("file, SHA-256", "bytes"), rows)


def _boots(images: Sequence[ImageRelease]) -> Markdown:
    rows = [
        (code(image.name), code(boot), seconds(time))
        for image in images
        for boot, time in image.validation.ssh_seconds.items()
    ]
    return table(("image", "boot", "start to SSH"), rows)


def _names(found: Sequence[Package]) -> Markdown:
    return first([package.name for package in found], CHANGELOG_NAMES)
