"""Decide which images a workflow run builds, and as which version. What could not end well is refused here.

Sets the outputs `version` and `images`, a JSON list of definitions; nothing is built where it is empty.
"""

import argparse
import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from ci.fetch.retry import Patience
from ci.github.client import GitHub
from ci.github.context import Context, chosen_tag
from ci.github.conversation import workflow_run
from ci.host import actions, cli
from ci.host.errors import InputError, RefusedError, ToolError, toolsmith
from ci.host.process import run
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.image.authorized_keys import read_authorized_keys
from ci.image.definition import RELEASE_IMAGE, Definition, load_definition
from ci.records.version import Version
from ci.text.markdown import LIST, Markdown

FOLDER = ROOT / "build/images"
KEYS = ROOT / "build/authorized_keys"
# A definition's name becomes part of a job's name, of an artifact's and of a command line.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}", re.ASCII)
RELEASE_WORKFLOW = ".github/workflows/release.yml"
# Where a tag's commit cannot be released: nobody has seen anything of it yet.
MOVE_TAG = (
    "Commit that; then move the tag, which is not published: git tag --force {0} && git push --force origin {0}. Where "
    "a rule forbids that, tag as the day's next version."
)

# What an image is neither made of nor by. Whatever else changes rebuilds it, so that a new folder is not forgotten.
UNRELATED = (
    ".github/CODEOWNERS",
    ".github/ISSUE_TEMPLATE/",
    ".github/dependabot.yml",
    ".github/pull_request_template.md",
    ".github/workflows/nightly.yml",
    ".github/workflows/pages.yml",
    ".github/workflows/rebuild.yml",
    ".github/workflows/refresh-base.yml",
    ".github/workflows/tests.yml",
    ".github/zizmor.yml",
    ".gitignore",
    "LICENSE",
    "README.md",
    "ci/build_catalogue.py",
    "ci/catalogue/",
    "docs/",
    "manifests/",
    "releases/",
    "tests/",
)


class Purpose(StrEnum):
    """What the images are for: to check a change, to rehearse a release, or to be released."""

    CHECK = "check"
    REHEARSAL = "rehearsal"
    RELEASE = "release"


def arguments() -> argparse.ArgumentParser:
    """The flags; each has a variable, because what a workflow passes on may be written by anybody."""
    env = os.environ
    result = cli.parser("toolsmith-image plan-images", __doc__)
    result.add_argument("--purpose", default=env.get("PURPOSE", ""), help="check, rehearsal or release [PURPOSE]")
    result.add_argument("--version", default=env.get("IMAGE_VERSION"), help="[IMAGE_VERSION; the tag; today]")
    result.add_argument("--image", default=env.get("IMAGE"), metavar="NAME", help="only this definition [IMAGE]")
    result.add_argument("--base-url", default=env.get("BASE_IMAGE_URL"), help="[BASE_IMAGE_URL]")
    result.add_argument("--base-sha256", default=env.get("BASE_IMAGE_SHA256"), help="[BASE_IMAGE_SHA256]")
    result.add_argument("--resume", default=env.get("RESUME"), metavar="RUN", help="a run's id [RESUME]")
    result.add_argument("--default-branch", default=env.get("DEFAULT_BRANCH"), help="[DEFAULT_BRANCH]")
    result.add_argument("--since", default=env.get("SINCE"), help="what a merge queue merges into, a commit [SINCE]")
    return result


def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> None:
    """Plan; raises what docs/exit-codes.md lists."""
    try:
        purpose = Purpose(options.purpose)
    except ValueError:
        hint = f"It is one of {', '.join(Purpose)}."
        raise InputError(f"{options.purpose!r} is not a purpose", hint=hint) from None
    version = planned_version(options, environ)
    with _movable_tag(environ):
        images = planned_images(purpose, options.image or None, read_definitions())
    refuse_contradictions(options, images)
    if purpose is Purpose.RELEASE:
        require_release_ref(options.default_branch, environ)
    reason = "as asked for"
    if purpose is Purpose.CHECK and (changed := changed_files(options.since, environ)) is not None:
        related = [path for path in changed if is_related(path)]
        reason = f"changed: {related[0]}" if related else "nothing that an image is made of or by has changed"
        images = images if related else []
    if images and not options.resume:
        with _movable_tag(environ):
            read_authorized_keys(KEYS)
    if purpose is Purpose.RELEASE or options.resume:
        with reporter.step("Looking at what is there"):
            look_at_github(GitHub(Context.from_environment(environ), reporter, patience), version, options.resume)
    rows = [("version", str(version)), ("images", ", ".join(images) or "none"), ("reason", reason)]
    reporter.table("Plan", ("what", "value"), rows)
    told = Markdown("Takes {}, as {}." if options.resume else "Builds {}, as {}.")
    listed = LIST.join(images) or Markdown("no image")
    actions.append_summary(told.format(listed, Markdown(version)), environ)
    actions.set_outputs({"version": str(version), "images": json.dumps(images)}, environ)


def planned_version(options: argparse.Namespace, environ: Mapping[str, str]) -> Version:
    """The version of all images: as asked for, as tagged, or today's in UTC; decided once, whenever each is built."""
    asked = Version.parse(options.version) if options.version else None
    tagged = chosen_tag(None, environ)
    if asked and tagged and asked != tagged:
        raise InputError(
            f"the run is for the tag {tagged}, the version asked for is {asked}",
            hint="Leave the version out, or run the workflow on a branch.",
        )
    if options.resume and not (asked or tagged):
        raise InputError("a run cannot be resumed without its version", hint="Give the version that it built.")
    return asked or tagged or Version.today(datetime.now(UTC))


@contextlib.contextmanager
def _movable_tag(environ: Mapping[str, str]) -> Iterator[None]:
    """Within, what is wrong is wrong in the commit; where a tag is on it, the hint tells how to go on."""
    try:
        yield
    except InputError as error:
        if tag := chosen_tag(None, environ):
            error.hint = f"{error.hint} {MOVE_TAG.format(tag)}".lstrip()
        raise


def require_release_ref(default_branch: str | None, environ: Mapping[str, str]) -> None:
    """Raise RefusedError on another branch than the default one: whoever verifies the release would not believe it."""
    branch = environ.get("GITHUB_REF_NAME") if environ.get("GITHUB_REF_TYPE") == "branch" else None
    if branch is not None and branch != default_branch:
        raise RefusedError(
            f"releases are made on a tag or on '{default_branch}', this run is on the branch '{branch}'",
            hint="Rehearse there as often as you want; to release, merge it first, or push a tag.",
        )


def read_definitions() -> dict[str, Definition]:
    """All definitions, the default one first; raises InputError where one is wrong."""
    names = sorted((path.stem for path in FOLDER.glob("*.toml")), key=lambda name: (name != RELEASE_IMAGE, name))
    for name in names:
        if not NAME.fullmatch(name):
            raise InputError(f"{name!r} cannot be an image's name", hint="Use lower-case letters, digits and hyphens.")
    definitions = {name: load_definition(name, FOLDER) for name in names}
    owners: dict[str, str] = {}
    for name, definition in definitions.items():
        if (other := owners.setdefault(definition.distribution, name)) != name:
            raise InputError(
                f"the images '{other}' and '{name}' have the distribution '{definition.distribution}' both",
                hint="It is part of the names of their files: give each its own.",
            )
    return definitions


def planned_images(purpose: Purpose, only: str | None, definitions: Mapping[str, Definition]) -> list[str]:
    """The definitions to build; raises InputError where one is asked for that is not there, or not for releases."""
    if only is not None:
        definition = definitions[only] if only in definitions else load_definition(only, FOLDER)
        if purpose is Purpose.RELEASE and not definition.release:
            raise InputError(
                f"the image '{only}' is not one that releases carry",
                hint=f"Set `release = true` in build/images/{only}.toml if it should be.",
            )
        return [only]
    checked = [name for name, one in definitions.items() if one.check and purpose is Purpose.CHECK]
    return [name for name, one in definitions.items() if one.release or name == RELEASE_IMAGE or name in checked]


def refuse_contradictions(options: argparse.Namespace, images: Sequence[str]) -> None:
    """Raise InputError for inputs that do not go together."""
    if options.base_sha256 and not options.base_url:
        raise InputError("there is a digest of a base, but no URL", hint="Give both, or neither.")
    if options.base_url and len(images) > 1:
        raise InputError(f"one base cannot be that of {', '.join(images)}", hint="Name the definition that it is for.")
    if options.base_url and options.resume:
        raise InputError("a run that is resumed has its bases already", hint="Leave the base or the run out.")


def changed_files(since: str | None, environ: Mapping[str, str]) -> list[str] | None:
    """What a pull request changes; None where that cannot be told, which is no reason not to test it."""
    if environ.get("GITHUB_EVENT_NAME") == "pull_request":
        since = "HEAD^1"  # the checkout is of the merge commit; its first parent is what the change goes to
    elif environ.get("GITHUB_EVENT_NAME") != "merge_group" or not since:
        return None
    try:
        # A merge queue that rebases has `since` too far back for the checkout: git fails, and everything is tested.
        argv = ["git", "-C", os.fspath(ROOT), "diff", "--name-only", "--no-renames", "-z", since, "HEAD"]
        return run(argv, timeout=60).stdout.rstrip("\0").split("\0")
    except ToolError:
        return None


def is_related(path: str) -> bool:
    """True where a change of this file may change an image, or how it is made."""
    return not any(path.startswith(one) if one.endswith("/") else path == one for one in UNRELATED)


def look_at_github(github: GitHub, version: Version, resume: str | None) -> None:
    """Raise RefusedError where the release could not be made in the end, or the run's images are not of this commit."""
    commit = github.context.commit
    if resume:
        _require_own_run(github, resume)
        return
    published = github.published_release(str(version))
    if published is not None:
        raise RefusedError(
            f"{version} is published already: {published.html_url}",
            hint="Release as the day's next version (.1, .2 and so on). Where only its roll-out is missing, re-run "
            f"that job, or: {toolsmith('roll-out', '--tag', str(version))}",
        )
    tagged = github.tag_commit(str(version))
    if tagged is not None and commit is not None and tagged != commit:
        raise RefusedError(
            f"the tag {version} is on commit {tagged}, this run is for {commit}",
            hint="Run the workflow on the tag, or release as the day's next version (.1, .2 and so on).",
        )


def _require_own_run(github: GitHub, resume: str) -> None:
    """Artifacts of any run can be downloaded, those of pull requests from forks too: only a release's are taken."""
    if not resume.isascii() or not resume.isdigit():
        raise InputError(f"{resume!r} is not a run", hint="It is the number in the address of the run's page.")
    found = workflow_run(github, int(resume))
    commit = github.context.commit
    if found.path.partition("@")[0] != RELEASE_WORKFLOW or found.head_repository != found.repository:
        raise RefusedError(
            f"{found.html_url} is not a run of this repository's release workflow",
            hint="Images of other runs are not released.",
        )
    if found.head_sha != commit:
        raise RefusedError(
            f"{found.html_url} is of commit {found.head_sha}, this run is for {commit}",
            hint="Run the workflow on the tag or branch that still is at that commit.",
        )


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
