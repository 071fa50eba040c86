"""Verify a published image as anybody could, given only its manifest or its tag.

Compares the release's record, its checksum file and the image's bytes with what is promised, and with the help of `gh`,
where that is installed, the image's provenance. Everything is compared, whatever the first comparison says.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ci.consume.hydrate import Means
from ci.consume.verify import Finding, Outcome, Published, findings, from_manifest, from_tag
from ci.consume.wanted import read_manifest_file, wanted_image
from ci.fetch.github_access import access_from
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.host import cli
from ci.host.errors import FetchError, InputError, VerificationError
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.host.workspace import cache_folder, work_folder
from ci.records.version import Version

SCHEMA = "fountainkit-toolsmith-image/verification/1"
MANIFEST = ROOT / "manifests" / "tools.json"


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.verify_release", __doc__)
    what = result.add_mutually_exclusive_group()
    what.add_argument("--manifest", metavar="PATH|URL", help="default: manifests/tools.json")
    what.add_argument("--tag", help="vYYYY.MM.DD[.N], of --repository")
    result.add_argument("--repository", metavar="OWNER/NAME", help="[GITHUB_REPOSITORY]")
    result.add_argument("--json", action="store_true", help="print what was found as JSON")
    return result


def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Compare all there is; raises VerificationError where something differs, FetchError where it is not there."""
    client = Client(patience=Patience(sleep=sleep), github=access_from(environ))
    means = Means(client=client, reporter=reporter)
    published = _published(options, means, environ)
    with work_folder(cache_folder() / "verify") as folder:
        found = list(findings(published, folder, means))
    reporter.table(
        f"Verification of {published.file}", ("what", "", "detail"), [(f.subject, f.outcome, f.detail) for f in found]
    )
    if options.json:
        sys.stdout.write(json.dumps(_document(published, found), indent=2) + "\n")
    _raise_for(found)
    return 0


def _published(options: argparse.Namespace, means: Means, environ: Mapping[str, str]) -> Published:
    if options.tag is None:
        given = options.manifest or os.fspath(MANIFEST)
        manifest = read_manifest_file(given, Path(), client=means.client, reporter=means.reporter)
        return from_manifest(wanted_image(manifest), manifest.where)
    repository = options.repository or environ.get("GITHUB_REPOSITORY", "")
    if repository.count("/") != 1:
        raise InputError("which repository has the tag?", hint="Name it: --repository OWNER/NAME")
    return from_tag(access_from(environ).server_url, repository, str(Version.parse(options.tag)), means)


def _document(published: Published, found: Sequence[Finding]) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "url": published.url,
        "sha256": published.sha256,
        "size": published.size,
        "tag": published.tag,
        "findings": [{"subject": f.subject, "outcome": f.outcome.value, "detail": f.detail} for f in found],
    }


def _raise_for(found: Sequence[Finding]) -> None:
    for outcome, error, hint in (
        (Outcome.DIFFERS, VerificationError, "Do not use this image, and tell its publisher."),
        (Outcome.UNREACHABLE, FetchError, "Check the URL and the network, then run it again."),
    ):
        if wrong := [f"{finding.subject}: {finding.detail}" for finding in found if finding.outcome is outcome]:
            raise error(f"the release is not what it promises: {wrong[0]}", hint=hint, details="\n".join(wrong))


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
