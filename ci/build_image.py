"""Build an image: base image in, QCOW2, checksum, package list and build record out."""

import argparse
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ci.host import cli
from ci.host.accelerator import CHOICES, Acceleration, Choice, probe, probe_aloud
from ci.host.errors import InputError, VerificationError, toolsmith
from ci.host.prerequisites import quick_check
from ci.host.progress import Reporter, short_path
from ci.host.qcow2 import check_disk_image
from ci.host.repository import BUILD, ROOT, Revision, current_revision
from ci.host.workspace import cache_folder, in_use
from ci.image.authorized_keys import read_authorized_keys
from ci.image.base.base_image import BaseSource, VerifiedBase, fetch_base
from ci.image.base.bootstrap import bootstrap_base
from ci.image.build import build
from ci.image.definition import RELEASE_IMAGE, Definition, definition_files, input_digests, load_definition
from ci.image.plan import Plan
from ci.records.build import BuildRecord, Verification
from ci.records.version import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """An image to build, as `--help` describes it. Without `base_url` the base is that of the image's definition."""

    image: str
    version: Version
    base_url: str | None
    base_sha256: str | None
    authorized_keys: Path
    output: Path
    accel: Choice
    use_layers: bool
    allow_unverified_base: bool
    release: bool


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    parser = cli.parser("toolsmith-image build", __doc__)
    env = os.environ
    parser.add_argument("--image", default=RELEASE_IMAGE, metavar="NAME", help="a file of build/images (%(default)s)")
    parser.add_argument("--version", default=env.get("IMAGE_VERSION"), help="vYYYY.MM.DD[.N] [IMAGE_VERSION; today]")
    parser.add_argument("--base-url", default=env.get("BASE_IMAGE_URL"), help="https, http or file [BASE_IMAGE_URL]")
    parser.add_argument("--base-sha256", default=env.get("BASE_IMAGE_SHA256"), help="its digest [BASE_IMAGE_SHA256]")
    parser.add_argument(
        "--authorized-keys",
        type=Path,
        default=env.get("AUTHORIZED_KEYS") or BUILD / "authorized_keys",
        metavar="FILE",
        help="the public keys that may log in [AUTHORIZED_KEYS; build/authorized_keys]",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    parser.add_argument("--accel", choices=CHOICES, default="auto", help="how to run the appliance (default: auto)")
    parser.add_argument(
        "--no-cache", action="store_false", dest="use_layers", help="install packages anew, whatever is kept of them"
    )
    parser.add_argument("--allow-unverified-base", action="store_true", help="accept a base nothing vouches for")
    parser.add_argument("--release", action="store_true", help="refuse what a release must not have")
    return parser


def request(options: argparse.Namespace) -> BuildRequest:
    """What the flags ask for; raises InputError for a malformed version."""
    version = Version.parse(options.version) if options.version else Version.today(datetime.now(UTC))
    return cli.filled(BuildRequest, options, version=version)


def request_of_environment() -> BuildRequest:
    """What is built where there are no flags."""
    return request(arguments().parse_args([]))


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    """Build what the flags ask for."""
    build_image(request(options), reporter)


def build_image(request: BuildRequest, reporter: Reporter) -> BuildRecord:
    """Build, and tell what came of it; raises what docs/exit-codes.md lists."""
    definition = load_definition(request.image, BUILD / "images")
    keys = read_authorized_keys(request.authorized_keys)
    revision = current_revision()
    if request.release:
        _refuse_for_release(request, definition, revision)
    cache = cache_folder()
    quick_check(output=request.output, cache=cache, bootstrap=definition.base.bootstrap is not None)
    acceleration = probe_aloud(request.accel, reporter)
    with in_use(cache):
        base = find_base(request, definition, acceleration, reporter)
        check_disk_image(base.path)
        files = (*definition_files(request.image, BUILD / "images"), BUILD / "guest", BUILD / "provision")
        inputs_digest, inputs = input_digests(ROOT, *files)
        plan = Plan(
            definition=definition,
            definition_name=request.image,
            definition_sha256=inputs_digest,
            inputs=inputs,
            version=str(request.version),
            revision=revision,
            built_at=chosen_time(os.environ.get("SOURCE_DATE_EPOCH", "")),
            base=base,
            keys=keys,
            output=request.output.absolute(),
            cache=cache,
            use_layers=request.use_layers,
        )
        acceleration = probe(request.accel)  # to make the base may have shown that KVM cannot be relied on
        record = build(plan, acceleration=acceleration, reporter=reporter)
    _summarise(record, plan.output, reporter)
    return record


def chosen_time(epoch: str) -> datetime:
    """When the image says it was built: now, or the seconds since 1970 of SOURCE_DATE_EPOCH, for the same bytes again.

    https://reproducible-builds.org/specs/source-date-epoch/
    """
    if not epoch:
        return datetime.now(UTC).replace(microsecond=0)
    if not epoch.isascii() or not epoch.isdecimal() or len(epoch) > 11:
        raise InputError(f"SOURCE_DATE_EPOCH is {epoch!r}", hint="Give whole seconds since 1970, as `date +%s` does.")
    return datetime.fromtimestamp(int(epoch), UTC)


def find_base(
    request: BuildRequest, definition: Definition, acceleration: Acceleration, reporter: Reporter
) -> VerifiedBase:
    """The base that the image is built upon, made or fetched where the cache does not have it."""
    cache, bootstrap = cache_folder(), definition.base.bootstrap
    if bootstrap and not request.base_url:
        recipe = BUILD / "bootstrap"
        return bootstrap_base(bootstrap, recipe=recipe, cache=cache, acceleration=acceleration, reporter=reporter)
    source = base_source(request, definition)
    base = fetch_base(source, cache=cache, allow_unverified=request.allow_unverified_base, reporter=reporter)
    if request.release and base.verification is Verification.NONE:
        raise VerificationError("a release cannot be built from a base that nothing vouches for")
    return base


def base_source(request: BuildRequest, definition: Definition) -> BaseSource:
    """The base to fetch. A pinned digest belongs to the pinned URL: with another URL it says nothing."""
    base = definition.base
    url = request.base_url or str(base.url or "")
    if not url:
        raise InputError(f"the image '{request.image}' has no base URL", hint="Give one with BASE_IMAGE_URL.")
    return BaseSource(
        url=url,
        sha256=request.base_sha256 or (None if request.base_url else base.sha256),
        digest_source="BASE_IMAGE_SHA256" if request.base_sha256 else f"build/images/{request.image}.toml",
        keyring=ROOT / base.keyring if base.keyring else None,
        fingerprints=base.fingerprints,
    )


def _refuse_for_release(request: BuildRequest, definition: Definition, revision: Revision) -> None:
    if not definition.release:
        raise InputError(
            f"the image '{request.image}' is not one that releases carry",
            hint=f"Set `release = true` in build/images/{request.image}.toml if it should be.",
        )
    if request.allow_unverified_base:
        raise InputError("--release and --allow-unverified-base exclude each other", hint="Pin the base's digest.")
    if revision.dirty:
        raise InputError(
            "a release must be built from a commit, and this checkout differs from its commit",
            hint="Commit or discard your changes: `git status` shows them.",
        )


def _summarise(record: BuildRecord, output: Path, reporter: Reporter) -> None:
    image = short_path(output / record.image.file)
    rows = [
        ("image", image),
        ("sha256", record.image.sha256),
        ("size", f"{record.image.size / 1e6:.0f} MB, {record.image.virtual_size >> 30} GiB virtual"),
        ("base", f"{record.base.url} ({record.base.vouched_for})"),
        ("packages", str(record.packages)),
        ("kernel", record.kernel),
        ("keys", "\n".join(record.authorized_keys)),
        ("time", f"{record.seconds:.0f} s"),
    ]
    reporter.table(f"Built {record.name}", ("what", "value"), rows)
    reporter.note(f"Boot-test it next: {toolsmith('validate', image)}")


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
