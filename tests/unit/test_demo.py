import fcntl
import shlex
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from ci import demo, rehearse
from ci.host.accelerator import Accelerator
from ci.host.process import Completed
from ci.host.repository import ROOT
from ci.host.workspace import LOCK_NAME, cache_folder
from ci.records.version import Version
from ci.validate_image import ValidateRequest
from tests.support.quiet import quiet_reporter
from tests.support.releasing import build_record, validation_report


@pytest.fixture
def keygen(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands in for ssh-keygen, which no unit test may start: writes both halves and remembers its arguments."""
    calls: list[list[str]] = []

    def run(argv: list[str | Path], *, timeout: float) -> Completed:
        del timeout
        calls.append([str(argument) for argument in argv])
        target = Path(argv[-1])
        assert not target.exists(), "ssh-keygen would ask whether to overwrite it, and hang"
        with (target.parent / LOCK_NAME).open("w") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as another run at the same time
        target.write_text("private")
        Path(f"{target}.pub").write_text("public")
        return Completed(argv=(), returncode=0, stdout="", stderr="", seconds=0)

    monkeypatch.setattr(demo, "run", run)
    return calls


def test_the_key_is_made_once_and_used_again(keygen: list[list[str]], tmp_path: Path) -> None:
    first = demo.throwaway_key(tmp_path / "demo")
    assert demo.throwaway_key(tmp_path / "demo") == first
    assert len(keygen) == 1
    assert keygen[0][0] == "ssh-keygen"


def test_half_a_pair_is_replaced_by_a_whole_one(keygen: list[list[str]], tmp_path: Path) -> None:
    for lost in ("id_ed25519", "id_ed25519.pub"):
        demo.throwaway_key(tmp_path)
        (tmp_path / lost).unlink()
        identity = demo.throwaway_key(tmp_path)
        assert identity.exists()
        assert Path(f"{identity}.pub").exists()
    assert len(keygen) == 3


def test_nobody_else_can_look_into_the_folder_of_the_key(keygen: list[list[str]], tmp_path: Path) -> None:
    demo.throwaway_key(tmp_path / "new" / "demo")
    assert (tmp_path / "new" / "demo").stat().st_mode & 0o777 == 0o700
    assert keygen


def test_the_key_stays_out_of_the_repository() -> None:
    assert not cache_folder().resolve().is_relative_to(ROOT)


def test_the_artifacts_go_to_dist_unless_told_otherwise() -> None:
    parse = demo.arguments().parse_args
    assert demo.request(parse([])) == demo.DemoRequest(image="bookworm", output=ROOT / "dist")
    asked = parse(["--output", "/elsewhere", "--image", "trixie"])
    assert demo.request(asked) == demo.DemoRequest(image="trixie", output=Path("/elsewhere"))


def test_the_last_lines_work_when_pasted_whatever_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my images, new; $HOME"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    told = demo.how_to_start(Path(folder.name) / "a.qcow2", folder / "id", Accelerator.TCG).splitlines()
    qemu, login = shlex.split(told[1]), shlex.split(told[3])
    assert f"file={tmp_path}/my images,, new; $HOME/a.qcow2,if=virtio,snapshot=on" in qemu
    assert "kvm" not in told[1]
    assert login[:3] == ["ssh", "-i", str(folder / "id")]
    # A machine has a new host key at every start.
    assert {"StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"} <= set(login)
    assert "Ctrl-A X" in told[0]
    assert "in another terminal" in told[2]
    assert shlex.split(told[5])[1:5] == ["run", "--image", f"{folder}/a.qcow2", "--"]
    assert "kvm" in demo.how_to_start(Path("a.qcow2"), Path("id"), Accelerator.KVM)


def test_what_was_built_is_tested_and_what_was_tested_is_rehearsed(
    mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMAGE_VERSION", "v2026.01.02")
    built = build_record()
    key = mocker.patch.object(demo, "throwaway_key", return_value=Path("key"))
    build = mocker.patch.object(demo, "build_image", return_value=built)
    validate = mocker.patch.object(demo, "validate_image", return_value=validation_report(built))
    rehearsing = mocker.patch.object(rehearse, "rehearse")
    reporter = quiet_reporter()
    wanted = demo.DemoRequest(image="bookworm", output=tmp_path)
    demo.demo(wanted, reporter)
    (asked, _) = build.call_args.args
    assert (asked.image, asked.authorized_keys, asked.output) == ("bookworm", Path("key.pub"), tmp_path)
    assert str(asked.version) == "v2026.01.02"
    tested = ValidateRequest(image=tmp_path / built.image.file, identity=key.return_value)
    assert validate.call_args.args == (tested, reporter)
    (rehearsed, _) = rehearsing.call_args.args
    assert rehearsed == rehearse.RehearseRequest(dist=tmp_path, tag=Version.parse(built.version), image="bookworm")
