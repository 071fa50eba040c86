import dataclasses
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ci import build_image
from ci.bench import __main__ as bench
from ci.bench import boots, builds
from ci.bench.builds import BenchSubject
from ci.boot.vm.qemu import MachineSpec
from ci.boot.vm.ssh import new_key
from ci.host.accelerator import Acceleration, Accelerator
from ci.host.repository import BUILD
from ci.image.base.base_image import VerifiedBase
from ci.image.definition import load_definition
from ci.records.build import ArtifactRecord, BaseImageRecord, BuildRecord, Verification

DISK = Path("/w/classic.qcow2")
PORT = 2222
SUBJECT = BenchSubject(
    name="bookworm",
    definition=load_definition("bookworm", BUILD / "images"),
    base=VerifiedBase(
        path=Path("/cache/base.qcow2"),
        url="bootstrap:bookworm",
        sha256="a" * 64,
        size=1,
        verification=Verification.SIGNED_PACKAGES,
        verified_by="a keyring",
    ),
    acceleration=Acceleration(accelerator=Accelerator.TCG, reason="chosen"),
    folder=Path("/w"),
    public_key=Path("/w/key/id_ed25519.pub"),
    key=new_key(),
)


def test_the_classic_recipe_is_what_a_manual_tells_to_do_but_keeps_the_key_when_it_cleans_up() -> None:
    recipe = builds.classic_recipe(SUBJECT, "qcow2")
    assert list(recipe) == ["qemu-img convert", "qemu-img resize", "virt-customize", "virt-sysprep"]
    assert list(recipe.values()) == [
        ["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", Path("/cache/base.qcow2"), DISK],
        ["qemu-img", "resize", "-q", "-f", "qcow2", DISK, "21474836480"],
        [
            "virt-customize", "--format", "qcow2", "--add", DISK,
            "--update",
            "--install", ",".join(SUBJECT.definition.packages.install),
            "--run-command", "useradd --create-home --shell /bin/bash --groups sudo fountain",
            "--write", "/etc/sudoers.d/90-fountain:fountain ALL=(ALL) NOPASSWD:ALL",
            "--ssh-inject", "fountain:file:/w/key/id_ed25519.pub",
        ],
        ["virt-sysprep", "--format", "qcow2", "--add", DISK, "--operations", "defaults,-ssh-userdir"],
    ]  # fmt: skip


def test_our_build_is_a_process_of_its_own_with_the_same_key_and_accelerator() -> None:
    assert builds.build_argv(SUBJECT, "--no-cache") == [
        sys.executable, "-m", "ci.build_image",
        "--image", "bookworm",
        "--authorized-keys", Path("/w/key/id_ed25519.pub"),
        "--output", Path("/w/ours"),
        "--accel", "tcg",
        "--no-cache",
    ]  # fmt: skip


@pytest.mark.parametrize("flags", [("--no-cache",), builds.AGAIN])
def test_the_flags_of_our_build_are_ones_it_has(flags: tuple[str, ...]) -> None:
    words = [os.fspath(word) for word in builds.build_argv(SUBJECT, *flags)[3:]]
    options = build_image.arguments().parse_args(words)
    assert (options.image, options.output, options.accel) == ("bookworm", SUBJECT.ours, "tcg")


def test_both_are_started_in_the_same_machine_but_for_the_seed() -> None:
    base = boots.boot_spec(Path("base.qcow2"), Path("seed.img"))(PORT)
    ours = boots.boot_spec(Path("ours.qcow2"))(PORT)
    for spec, image, seed in ((base, "base.qcow2", Path("seed.img")), (ours, "ours.qcow2", None)):
        assert isinstance(spec, MachineSpec)
        assert (spec.image, spec.seed) == (Path(image), seed)
        assert (spec.cpus, spec.memory_mib, spec.instruments) == (2, 2048, False)
        assert spec.forwards == {PORT: 22}


def test_the_consumers_machine_is_given_memory_only_where_it_is_not_the_default(tmp_path: Path) -> None:
    subject = dataclasses.replace(SUBJECT, folder=tmp_path)
    little = boots.consumer_spec(subject, Path("ours.qcow2"))(PORT)
    much = boots.consumer_spec(subject, Path("ours.qcow2"), boots.MEMORY_MIB)(PORT)
    assert "-m" not in little.argv(SUBJECT.acceleration, None)
    assert much.argv(SUBJECT.acceleration, None)[-2:] == ["-m", "2048"]


def test_the_seed_makes_one_user_who_has_the_key() -> None:
    key = new_key()
    header, _, body = boots.seed_user_data(key.public).partition("\n")
    assert header == "#cloud-config"
    (user,) = json.loads(body)["users"]
    assert (user["name"], user["ssh_authorized_keys"]) == ("fountain", [key.public])


def test_the_starts_are_compared_with_what_they_are_to_be_compared_with() -> None:
    part = boots.compared_starts(
        [70.0, 60.0], [21.0, 15.0], [10.5, 10.0], [40.0, 39.0], [20.0, 20.0], [21.0, 22.0], [3.0, 2.1]
    )
    assert [(row.cells()[0].partition(" (")[0], *row.cells()[1:]) for row in part.rows] == [
        ("start to SSH", "65.0 s (60.0 s to 70.0 s)", "18.0 s (15.0 s to 21.0 s)", "0.28 (0.25 to 0.30)", "≤ 0.30",
         "reached"),
        ("start to SSH", "10.2 s (10.0 s to 10.5 s)", "18.0 s (15.0 s to 21.0 s)", "1.76 (1.50 to 2.00)", "≤ 2.00",
         "reached"),
        ("start to the first command on 3023, 128 MiB", "20.0 s (20.0 s to 20.0 s)", "39.5 s (39.0 s to 40.0 s)",
         "1.98 (1.95 to 2.00)", "≤ 2.00", "reached"),
        ("`run -- true`, all of it", "20.0 s (20.0 s to 20.0 s)", "21.5 s (21.0 s to 22.0 s)",
         "1.07 (1.05 to 1.10)", "≤ 1.10", "reached"),
        ("`run -- true`, again", "21.5 s (21.0 s to 22.0 s)", "2.5 s (2.1 s to 3.0 s)", "0.12 (0.10 to 0.14)", "≤ 0.15",
         "reached"),
    ]  # fmt: skip
    (note,) = part.notes
    assert note.endswith(" The base with its seed: 70.0 s, 60.0 s. Our image: 21.0 s, 15.0 s.")


def test_every_part_can_be_asked_for_and_is_measured_in_its_order() -> None:
    assert bench.arguments().parse_args([]).only == list(bench.PARTS) == ["build", "boot", "memory", "fetch"]
    assert bench.arguments().parse_args(["--only", "fetch", "build"]).only == ["fetch", "build"]


@pytest.mark.parametrize("flags", [["--only", "boots"], ["--only"], ["--boots", "0"], ["--boots", "many"]])
def test_a_value_that_cannot_work_is_refused_with_the_flags(flags: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        bench.arguments().parse_args(flags)
    assert caught.value.code == 2


def write_record(folder: Path, definition: str, *, age: int) -> None:
    record = BuildRecord(
        name=f"{definition}-{age}",
        version="v2026.11.23",
        definition=definition,
        definition_sha256="a" * 64,
        inputs={},
        distribution="debian-12",
        commit="unknown",
        dirty=True,
        built_at=datetime(2026, 11, 23, tzinfo=UTC),
        base=BaseImageRecord(url="x", sha256="a" * 64, size=1, verification=Verification.NONE, verified_by=""),
        image=ArtifactRecord(file="image.qcow2", sha256="a" * 64, size=1, virtual_size=1),
        packages=1,
        transaction=[],
        kernel="6",
        drivers={},
        authorized_keys=[],
        accelerator="tcg",
        tools={},
        steps=[],
        seconds=1.0,
        peak_memory=1,
    )
    path = folder / f"{definition}-{age}.build.json"
    record.write(path)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))


def test_the_image_to_start_is_the_last_one_built_of_the_definition(tmp_path: Path) -> None:
    assert builds.newest_build(tmp_path, "bookworm") is None
    write_record(tmp_path, "jammy", age=0)
    assert builds.newest_build(tmp_path, "bookworm") is None
    write_record(tmp_path, "bookworm", age=1)
    write_record(tmp_path, "bookworm", age=2)
    newest = builds.newest_build(tmp_path, "bookworm")
    assert newest is not None
    assert newest.name == "bookworm-1"


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        ("processor\t: 0\nmodel name\t: A CPU: fast\n\nprocessor\t: 1\nmodel name\t: B\n", "A CPU: fast"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", ""),
    ],
)
def test_the_processor_is_named_where_linux_names_it(cpuinfo: str, model: str) -> None:
    assert bench.cpu_model(cpuinfo) == model
