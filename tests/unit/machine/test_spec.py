from pathlib import Path

import pytest

from ci.boot.vm.qemu import MachineSpec
from ci.host.accelerator import Acceleration, Accelerator
from ci.host.errors import InputError
from ci.machine.spec import CHANNELS, Network, SessionSpec, StateFiles, parse_export

TCG = Acceleration(accelerator=Accelerator.TCG, reason="a test")
HANDLES = {name: number for number, name in enumerate(CHANNELS, 4)}
SPEC = SessionSpec(Path("/an, image.qcow2"), Path("/work, shop"))


def line(spec: SessionSpec) -> str:
    return " ".join(spec.argv(TCG, HANDLES))


def test_the_machine_has_the_devices_that_the_boot_test_starts() -> None:
    argv = SPEC.argv(TCG, HANDLES)
    tested = MachineSpec(image=SPEC.image).argv(TCG, None)
    left_out = {"-serial", "stdio", "user,id=net0"}  # the console is a socket, and the network restricted
    assert [word for word in tested if word not in argv] == [word for word in tested if word in left_out - {"-serial"}]


def test_a_comma_in_a_path_is_no_option() -> None:
    assert "file=/an,, image.qcow2,if=none,id=root,snapshot=on,format=qcow2" in line(SPEC)
    assert "local,path=/work,, shop,mount_tag=work,security_model=none,readonly=on" in line(SPEC)


def test_nothing_listens_on_the_network_and_nothing_goes_out_unless_asked_for() -> None:
    full = SessionSpec(Path("/i"), Path("/w"), network=Network.FULL)
    assert "user,id=net0,restrict=on" in line(SPEC)
    assert "restrict" not in line(full)
    assert "hostfwd" not in line(SPEC) + line(full)


def test_what_is_exported_can_be_written_and_makes_no_set_id_programs() -> None:
    exported = SessionSpec(Path("/i"), Path("/w"), exports={"out": Path("/o")})
    assert "local,path=/o,mount_tag=out,security_model=mapped-xattr" in exported.argv(TCG, HANDLES)


def test_each_channel_is_a_socket_that_qemu_inherits() -> None:
    for name, number in HANDLES.items():
        assert f"socket,id={name},fd={number},server=on,wait=off" in line(SPEC)


def test_an_export_is_a_folder_and_a_tag(tmp_path: Path) -> None:
    folder = tmp_path / "a:b"
    folder.mkdir()
    assert parse_export(f"{folder}:out") == ("out", folder)


@pytest.mark.parametrize("tag", ["", "work", ".x", "a/b", "a b", "ü", "x" * 32, "x\n"])
def test_a_tag_that_the_guest_would_leave_out_is_refused(tmp_path: Path, tag: str) -> None:
    with pytest.raises(InputError, match="is not DIR:TAG"):
        parse_export(f"{tmp_path}:{tag}")


@pytest.mark.parametrize("text", ["out", ":out", "/nowhere/at/all:out", "a\0b:out"])
def test_an_export_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--export"):
        parse_export(text)


MADE, RESUMED = (StateFiles(Path("/st,ate/made"), resumed=resumed) for resumed in (False, True))
EXPORTING = SessionSpec(Path("/i"), Path("/w"), exports={"out": Path("/o")}, network=Network.FULL)


def test_a_state_is_made_with_nothing_of_the_run_in_it() -> None:
    argv = " ".join(EXPORTING.argv(TCG, HANDLES, MADE))
    assert "path=/w," not in argv
    assert "path=/o," not in argv
    assert argv.count("path=/st,,ate/nothing,") == 2


def test_a_machine_is_resumed_without_writing_to_its_state() -> None:
    made, resumed = (EXPORTING.argv(TCG, HANDLES, state) for state in (MADE, RESUMED))
    assert "memory-backend-file,id=memory,size=1024M,mem-path=/st,,ate/made/memory,share=on" in made
    assert "memory-backend-file,id=memory,size=1024M,mem-path=/st,,ate/made/memory,share=off" in resumed
    assert [word for word in resumed if "/disk.qcow2,if=none,id=root,snapshot=on,format=qcow2" in word]
    assert resumed[-2:] == ["-incoming", "defer"]
    assert "local,path=/w,mount_tag=work,security_model=none,readonly=on" in resumed


def test_a_machine_has_the_same_devices_whether_its_state_is_made_or_resumed() -> None:
    made, resumed = (EXPORTING.argv(TCG, HANDLES, state) for state in (MADE, RESUMED))
    devices = [[word for word in argv if word.startswith(("virtio", "vmgenid", "pc,"))] for argv in (made, resumed)]
    assert devices[0] == devices[1]
    assert [word for word in made if "mount_tag" in word and "mount_tag=out" in word]
