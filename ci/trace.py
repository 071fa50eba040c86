"""Trace a file, a SHA-256 or a tag to its release: what went in, whether it is intact, and what came after.

Looks into this repository's releases/ first, then at GitHub, which also tells the roll-out's pull request. A token in
GITHUB_TOKEN is used where there is one; public releases need none.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ci.fetch.retry import Patience
from ci.github.client import GitHub
from ci.github.context import Context
from ci.github.failures import nothing_vanishes
from ci.github.transfer import Transfer
from ci.host import cli
from ci.host.errors import InputError, ToolsmithError, UnknownOriginError, VerificationError
from ci.host.files import sha256_file
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.records.version import Version
from ci.release import lineage
from ci.release.lineage import Fate
from ci.release.origin import Kind, Origin, Subject, find, find_at, read_folder

# For who asks a question, unlike for who publishes, a few attempts are enough.
PATIENCE = Patience(attempts=3)

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})", re.ASCII)


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.trace", __doc__)
    result.add_argument(
        "subject", metavar="FILE|DIGEST|TAG", help="any file of a release, a SHA-256, or vYYYY.MM.DD[.N]"
    )
    result.add_argument("--releases", type=Path, default=ROOT / "releases", metavar="FOLDER", help="default: releases")
    result.add_argument(
        "--repository", metavar="OWNER/NAME", help="at GitHub [GITHUB_REPOSITORY; what the record says]"
    )
    result.add_argument("--offline", action="store_true", help="ask nobody: only what releases/ knows")
    result.add_argument("--json", action="store_true", help="print what is known as JSON")
    return result


@nothing_vanishes()
def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience = PATIENCE,
) -> int:
    """Trace; raises UnknownOriginError where nothing tells, VerificationError where it is not what was published."""
    subject = read_subject(options.subject, reporter)
    known, problems = read_folder(options.releases)
    origin, fate = find(subject, known), None
    repository = options.repository or environ.get("GITHUB_REPOSITORY")
    if origin is not None:
        repository = repository or origin.known.record.repository
    if repository and not options.offline:
        context = Context.from_environment(environ, repository=repository, anonymous=True)
        origin, fate = _ask(context, subject, origin, patience, reporter)
    if origin is None:
        raise _unknown(subject, problems, asked=repository if not options.offline else None)
    for problem in problems:
        reporter.warn(problem.message)
    tags = [one.record.tag for one in known] + ([fate.newest] if fate and fate.newest else [])
    later = lineage.newest(origin.known.record.tag, tags)
    reporter.table(f"Origin of {subject.given}", ("what", "it is"), lineage.rows(subject, origin, fate, later))
    if options.json:
        sys.stdout.write(json.dumps(lineage.document(subject, origin, fate, later), indent=2) + "\n")
    _require_intact(subject, origin, fate)
    return 0


def read_subject(given: str, reporter: Reporter) -> Subject:
    """What is asked about: a file that is there, else a digest, else a tag; raises InputError."""
    path = Path(given)
    if path.is_file():
        try:
            with reporter.step(f"Hashing {path.name}"):
                return Subject(
                    kind=Kind.FILE, given=given, sha256=sha256_file(path), name=path.name, size=path.stat().st_size
                )
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}", hint="Check its permissions.") from error
    if found := _DIGEST.fullmatch(given):
        return Subject(kind=Kind.DIGEST, given=given, sha256=found[1].lower())
    try:
        return Subject(kind=Kind.TAG, given=given, tag=str(Version.parse(given)))
    except InputError:
        raise InputError(
            f"{given!r} is no file, no SHA-256 and no tag",
            hint="Check the path for typing errors. A SHA-256 has 64 hexadecimal digits; a tag is such as v2026.11.23.",
        ) from None


def _ask(
    context: Context, subject: Subject, origin: Origin | None, patience: Patience, reporter: Reporter
) -> tuple[Origin | None, Fate | None]:
    """What GitHub adds. Where the origin is known already, it is no failure that GitHub cannot be asked."""
    github = GitHub(context, reporter, patience)
    try:
        with reporter.step(f"Asking for the releases of {context.repository}"), Transfer(context, patience) as transfer:
            releases = github.releases()
            if origin is None:
                origin = find_at(github, transfer, subject, releases)
            return origin, lineage.look(github, releases, origin.known) if origin else None
    except ToolsmithError as failure:
        if origin is None:
            raise
        reporter.warn(f"GitHub tells nothing about it: {failure.message}")
        return origin, None


def _unknown(subject: Subject, problems: Sequence[ToolsmithError], asked: str | None) -> ToolsmithError:
    """What to say where nothing was found: a record that cannot be read might have known."""
    if problems:
        return problems[0]
    what = f"{subject.given} (SHA-256 {subject.sha256})" if subject.kind is Kind.FILE else subject.given
    if asked:
        return UnknownOriginError(
            f"no release of {asked} knows {what}",
            hint="It may be of another repository (--repository), changed on the way, or never released.",
        )
    return UnknownOriginError(
        f"no record in releases/ knows {what}", hint="Name the repository to ask for it: --repository OWNER/NAME"
    )


def _require_intact(subject: Subject, origin: Origin, fate: Fate | None) -> None:
    tag = origin.known.record.tag
    if origin.file is not None and origin.intact is False:
        raise VerificationError(
            f"{subject.given} is not the file that {tag} published under this name: its SHA-256 is {subject.sha256}, "
            f"published was {origin.file.sha256}",
            hint="A download may have broken off, or somebody changed it. Fetch it again, and do not use this one.",
        )
    if fate is not None and fate.differences:
        raise VerificationError(
            f"the release {tag} is not what its record says: {fate.differences[0]}",
            hint="Somebody changed the release, or the record. Do not use what differs.",
            details="\n".join(fate.differences),
        )


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
