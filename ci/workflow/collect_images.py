"""Put together what the jobs of a workflow built and tested: every image asked for, and one digest for each file.

Works on the reports alone; the image's digest is the one that was built and tested. Sets the output `digests`, which
verify-images compares with in later jobs.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ci.host import actions, cli
from ci.host.errors import InputError, RefusedError, VerificationError
from ci.host.files import sha256_file
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.records import artifacts
from ci.records.build import BuildRecord
from ci.records.record import read_record
from ci.records.strict_json import parse_json
from ci.records.validation import Outcome, ValidationReport
from ci.text.table import TitledTable

RERUN = "Re-run the failed jobs of the run: what was built already is kept."


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    env = os.environ
    result = cli.parser("toolsmith-image collect-images", __doc__)
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument("--images", default=env.get("IMAGES", ""), help="the definitions, as a JSON list [IMAGES]")
    result.add_argument("--version", default=env.get("IMAGE_VERSION", ""), help="what was built [IMAGE_VERSION]")
    return result


def main(options: argparse.Namespace, reporter: Reporter, *, environ: Mapping[str, str] = os.environ) -> None:
    """Collect; raises what docs/exit-codes.md lists."""
    wanted = parse_images(options.images)
    builds = _read_builds(options.dist)
    if missing := [definition for definition in wanted if definition not in builds]:
        raise RefusedError(f"there is no report of {', '.join(missing)}", hint=RERUN)
    digests: dict[str, dict[str, str]] = {}
    rows: list[tuple[str, ...]] = []
    for definition in wanted:
        build = builds[definition]
        _require_same_origin(build, options.version, environ.get("GITHUB_SHA"))
        report = _tested(options.dist, build)
        digests[definition] = _digests(options.dist, build)
        passed = sum(check.outcome is Outcome.PASSED for check in report.checks)
        rows.append((build.image.file, build.image.sha256, f"{build.image.size / 1e6:.1f} MB", f"{passed} passed"))
    shown = TitledTable("Built and tested", ("image", "SHA-256", "size", "boot test"), rows)
    reporter.table(shown.title, shown.columns, rows)
    actions.append_summary(shown.markdown(), environ)
    actions.set_outputs({"digests": json.dumps(digests)}, environ)


def parse_images(text: str) -> list[str]:
    """Read a JSON list of definitions, which must not be empty; raises InputError."""
    try:
        images = parse_json(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        images = None
    if not isinstance(images, list) or not images or not all(isinstance(one, str) for one in images):
        raise InputError(f"{text!r} is not a list of images", hint="It comes from a job of plan-images.")
    return images


def _read_builds(folder: Path) -> dict[str, BuildRecord]:
    """The builds in `folder` by definition."""
    found = {path: read_record(path, BuildRecord) for path in sorted(folder.glob(f"*{artifacts.BUILD}"))}
    for path, build in found.items():
        if path.name != f"{build.name}{artifacts.BUILD}" or build.image.file != f"{build.name}{artifacts.IMAGE}":
            raise InputError(f"{path} is the record of {build.name}", hint="It was renamed; build again instead.")
    return {build.definition: build for build in found.values()}


def _require_same_origin(build: BuildRecord, version: str, commit: str | None) -> None:
    if build.version != version:
        raise RefusedError(
            f"{build.definition} was built as {build.version}, this run is for {version}",
            hint="Resume with the version that was built.",
        )
    if commit is not None and build.commit != commit:
        raise RefusedError(
            f"{build.definition} was built from {build.commit}, this run is for {commit}",
            hint="Run the workflow at the commit that was built, or build again.",
        )


def _tested(folder: Path, build: BuildRecord) -> ValidationReport:
    report = read_record(folder / f"{build.name}{artifacts.REPORT}", ValidationReport)
    if report.image_sha256 != build.image.sha256:
        raise VerificationError(
            f"the boot test was of {report.image_sha256}, not of the {build.image.file} that was built", hint=RERUN
        )
    if not report.passed:
        raise RefusedError(f"{build.name} has not passed its boot test", hint="Read its report; see also the job.")
    return report


def _digests(folder: Path, build: BuildRecord) -> dict[str, str]:
    """The digest of each file of a build. The image is not here: its digest is in the record."""
    files = {file.name: sha256_file(file) for file in sorted(folder.glob(f"{build.name}.*")) if file.is_file()}
    return files | {build.image.file: build.image.sha256}


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
