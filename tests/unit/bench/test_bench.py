import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ci import build_image
from ci.bench import __main__ as bench
from ci.bench import boots as bench_boot
from ci.bench.__main__ import Folder, Subject
from ci.bench.record import Stages
from ci.boot.vm.ssh import new_key
from ci.host.accelerator import Acceleration, Accelerator
from ci.image.base.base_image import VerifiedBase
from ci.image.definition import load_definition
from ci.records.build import ArtifactRecord, BaseImageRecord, BuildRecord, Verification

DISK = Path("/w/classic.qcow2")
PORT = 2222
FOLDER = Folder(path=Path("/w"), identity=Path("/w/key/id_ed25519"))
SUBJECT = Subject(
    name="bookworm",
    definition=load_definition("bookworm", build_image.BUILD / "images"),
    base=VerifiedBase(
        path=Path("/cache/base.qcow2"),
        url="bootstrap:bookworm",
        sha256="a" * 64,
        size=1,
        verification=Verification.SIGNED_PACKAGES,
        verified_by="a keyring",
    ),
    acceleration=Acceleration(accelerator=Accelerator.TCG, reason="chosen"),
)


def test_the_classic_recipe_copies_the_base_into_an_uncompressed_image() -> None:
    assert bench.classic_copy_argv(Path("/cache/base.qcow2"), "qcow2", DISK) == [
        "qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", Path("/cache/base.qcow2"), DISK,
    ]  # fmt: skip


def test_the_classic_recipe_resizes_the_disk_only() -> None:
    assert bench.classic_resize_argv(DISK, 20 << 30) == [
        "qemu-img", "resize", "-q", "-f", "qcow2", DISK, "21474836480",
    ]  # fmt: skip


def test_the_classic_recipe_makes_all_changes_in_one_virt_customize() -> None:
    assert bench.classic_customize_argv(DISK, ("curl", "git"), FOLDER.public_key) == [
        "virt-customize", "--format", "qcow2", "--add", DISK,
        "--update",
        "--install", "curl,git",
        "--run-command", "useradd --create-home --shell /bin/bash --groups sudo fountain",
        "--write", "/etc/sudoers.d/90-fountain:fountain ALL=(ALL) NOPASSWD:ALL",
        "--ssh-inject", "fountain:file:/w/key/id_ed25519.pub",
    ]  # fmt: skip


def test_the_classic_recipe_keeps_the_key_when_it_cleans_up() -> None:
    assert bench.classic_sysprep_argv(DISK) == [
        "virt-sysprep", "--format", "qcow2", "--add", DISK, "--operations", "defaults,-ssh-userdir",
    ]  # fmt: skip


def test_our_build_is_a_process_of_its_own_with_the_same_key_and_accelerator() -> None:
    assert bench.build_argv(SUBJECT, FOLDER) == [
        sys.executable, "-m", "ci.build_image",
        "--image", "bookworm",
        "--authorized-keys", Path("/w/key/id_ed25519.pub"),
        "--output", Path("/w/ours"),
        "--accel", "tcg",
    ]  # fmt: skip


def test_the_flags_of_our_build_are_ones_it_has() -> None:
    options = build_image.arguments().parse_args([os.fspath(word) for word in bench.build_argv(SUBJECT, FOLDER)[3:]])
    assert (options.image, options.output, options.accel) == ("bookworm", FOLDER.ours, "tcg")


def test_both_are_started_in_the_same_machine_but_for_the_seed() -> None:
    base = bench_boot.boot_spec(Path("base.qcow2"), Path("seed.img"), PORT)
    ours = bench_boot.boot_spec(Path("ours.qcow2"), None, PORT)
    assert (base.image, base.seed) == (Path("base.qcow2"), Path("seed.img"))
    assert (ours.image, ours.seed) == (Path("ours.qcow2"), None)
    for spec in (base, ours):
        assert (spec.cpus, spec.memory_mib, spec.instruments, spec.shares) == (2, 2048, False, ())
        assert [(forward.host_port, forward.guest_port) for forward in spec.forwards] == [(PORT, 22)]


def test_the_consumers_machine_is_given_memory_only_where_it_is_not_the_default() -> None:
    little, much = (
        bench_boot.consumer_spec(Path("ours.qcow2"), Path("/w/workspace"), PORT, memory)
        for memory in bench_boot.CONSUMER_MEMORY_MIB
    )
    tcg = Acceleration(accelerator=Accelerator.TCG, reason="chosen")
    assert "-m" not in little.argv(tcg, None)
    assert much.argv(tcg, None)[-2:] == ["-m", "2048"]


def test_the_seed_makes_one_user_who_has_the_key() -> None:
    key = new_key()
    header, _, body = bench_boot.seed_user_data(key.public).partition("\n")
    assert header == "#cloud-config"
    (user,) = json.loads(body)["users"]
    assert (user["name"], user["ssh_authorized_keys"]) == ("fountain", [key.public])


@pytest.mark.parametrize(
    ("argv", "title"),
    [
        (["qemu-img", "convert", "-f", "raw"], "qemu-img convert"),
        (["virt-sysprep", "--format", "qcow2"], "virt-sysprep"),
    ],
)
def test_a_step_is_named_by_its_command(argv: list[str], title: str) -> None:
    assert bench.step_title(argv) == title


def test_a_start_is_told_apart_by_the_kernels_clock() -> None:
    stages = bench_boot.stages_of(12.0, 14.5, "10.50\n3250000\n")
    assert stages == Stages(loader=4.0, kernel=3.25, services=4.75)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ([], ("build", "boot", "memory", "validation", "release", "fetch")),
        (["--only", "boot"], ("boot",)),
        (["--only", "release, boot, build"], ("build", "boot", "release")),
    ],
)
def test_parts_are_measured_in_their_order_whatever_the_order_of_the_flag(
    flags: list[str], parts: tuple[str, ...]
) -> None:
    assert bench.arguments().parse_args(flags).only == parts


@pytest.mark.parametrize("flags", [["--only", "boots"], ["--only", ""], ["--boots", "0"], ["--boots", "many"]])
def test_a_value_that_cannot_work_is_refused_with_the_flags(flags: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        bench.arguments().parse_args(flags)
    assert caught.value.code == 2


def write_record(folder: Path, definition: str, *, age: int) -> Path:
    record = BuildRecord(
        name="image",
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
    return path


def test_the_image_to_start_is_the_last_one_built_of_the_definition(tmp_path: Path) -> None:
    assert bench.newest_record(tmp_path, "bookworm") is None
    write_record(tmp_path, "jammy", age=0)
    assert bench.newest_record(tmp_path, "bookworm") is None
    newest = write_record(tmp_path, "bookworm", age=1)
    write_record(tmp_path, "bookworm", age=2)
    assert bench.newest_record(tmp_path, "bookworm") == newest


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        ("processor\t: 0\nmodel name\t: A CPU: fast\n\nprocessor\t: 1\nmodel name\t: B\n", "A CPU: fast"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", ""),
    ],
)
def test_the_processor_is_named_where_linux_names_it(cpuinfo: str, model: str) -> None:
    assert bench.cpu_model(cpuinfo) == model


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg)\nCopyright", "7.2.22 (Debian 1:7.2+dfsg)"),
        ("guestfish 1.48.6\n", "1.48.6"),
        ("virt-customize 1.48.2\n", "1.48.2"),
    ],
)
def test_a_version_stands_without_the_name_of_its_program(output: str, version: str) -> None:
    assert bench.tool_version(output) == version
