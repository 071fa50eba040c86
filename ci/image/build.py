"""The build: base image in, all artifacts out, in one libguestfs session."""

from pathlib import Path
from tempfile import TemporaryDirectory

from ci.host import qcow2
from ci.host.accelerator import Acceleration, with_other
from ci.host.cli import peak_memory
from ci.host.files import publish_together, sha256_file, write_atomic
from ci.host.prerequisites import OUTPUT_BYTES
from ci.host.process import run
from ci.host.progress import Reporter
from ci.host.qemu import QEMU
from ci.host.repository import ROOT
from ci.host.workspace import exclusive, require_space, work_folder
from ci.image import budget, earlier, sizes
from ci.image.contents import sbom
from ci.image.contents.image_contents import read_contents
from ci.image.make_image import Provisioned, make_image
from ci.image.picture import draw
from ci.image.plan import Plan
from ci.records import artifacts
from ci.records.build import ArtifactRecord, BaseImageRecord, BuildRecord
from ci.records.packages import to_tsv

TOOLS = {"guestfish": "guestfish", "qemu-img": "qemu-img", "qemu": QEMU}


def build(plan: Plan, *, acceleration: Acceleration, reporter: Reporter) -> BuildRecord:
    """Build the image and put its artifacts into `plan.output`, all of them or none; returns the build record."""
    require_space(plan.output, OUTPUT_BYTES)
    with work_folder(plan.output) as work:
        staging = work / "staging"
        staging.mkdir()
        image = staging / f"{plan.stem}{artifacts.IMAGE}"
        found = provisioned(plan, image, work, acceleration, reporter)
        with reporter.step("Hashing it"):
            digest = sha256_file(image)
        with reporter.step("Reading back what is in it"):
            contents = read_contents(image, work)
            bill = sbom.to_cyclonedx(plan.identity, sha256=digest, base_url=plan.base.url, contents=contents)
        artifact = ArtifactRecord(
            file=image.name, sha256=digest, size=image.stat().st_size, virtual_size=qcow2.virtual_size(image)
        )
        packages = [item.package for item in contents.installed]
        limit = plan.definition.disk.max_image_mib
        budget.require_within(limit, artifact.size, packages, lambda: _earlier(plan, reporter))
        record = _record(plan, artifact, found, reporter, packages=len(packages))
        folders = sizes.parse_du(found.folder_sizes)
        texts = {
            artifacts.CHECKSUM: f"{digest}  {image.name}\n",
            artifacts.PACKAGES: to_tsv(packages),
            artifacts.SBOM: bill,
            artifacts.SIZES: sizes.to_tsv(folders),
            artifacts.SIZES_PICTURE: draw(record, packages, folders, None),
            artifacts.BUILD: record.to_json(),
        }
        for ending, text in texts.items():
            write_atomic(staging / f"{plan.stem}{ending}", text)
        image.chmod(0o644)
        with exclusive(plan.output / ".lock"):
            publish_together(
                sorted(staging.iterdir()),
                plan.output,
                # Reports of an earlier image of this name would speak of other bytes.
                supersedes=sorted(plan.output.glob(f"{plan.stem}.*")),
                last=image.name,
            )
    return record


def provisioned(plan: Plan, image: Path, work: Path, acceleration: Acceleration, reporter: Reporter) -> Provisioned:
    """Make the image: with the other accelerator where the first fails its guest."""

    def attempt(acceleration: Acceleration) -> Provisioned:
        with TemporaryDirectory(dir=work) as own:
            return make_image(plan, image, Path(own), acceleration, reporter)

    return with_other(acceleration, attempt, reporter.note)


def _earlier(plan: Plan, reporter: Reporter) -> earlier.Earlier | None:
    distribution, releases = plan.definition.distribution, ROOT / "releases"
    return earlier.of_builds(plan.output, distribution) or earlier.of_releases(releases, distribution, reporter)


def _record(plan: Plan, image: ArtifactRecord, found: Provisioned, reporter: Reporter, *, packages: int) -> BuildRecord:
    return BuildRecord(
        name=plan.stem,
        version=plan.version,
        definition=plan.definition_name,
        definition_sha256=plan.definition_sha256,
        inputs=dict(plan.inputs),
        distribution=plan.definition.distribution,
        commit=plan.revision.commit,
        dirty=plan.revision.dirty,
        built_at=plan.built_at,
        base=BaseImageRecord.model_validate(plan.base.model_dump()),
        image=image,
        packages=packages,
        transaction=list(found.transaction.changes),
        kernel=found.kernel,
        drivers=found.drivers,
        authorized_keys=[key.fingerprint for key in plan.keys],
        accelerator=f"{found.acceleration.accelerator}: {found.acceleration.reason}",
        tools={name: run([tool, "--version"], timeout=30).stdout.splitlines()[0] for name, tool in TOOLS.items()},
        steps=reporter.steps,
        seconds=round(sum(step.seconds for step in reporter.steps), 2),
        peak_memory=peak_memory(),
    )
