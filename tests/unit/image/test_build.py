import dataclasses
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from ci.host.accelerator import Acceleration, Accelerator, remembered
from ci.host.errors import AcceleratorError
from ci.image import build
from ci.image.make_image import Provisioned
from ci.image.packages.transaction import Transaction
from tests.support.quiet import quiet_reporter

KVM = Acceleration(accelerator=Accelerator.KVM, reason="a guest ran with it")
FOUND = Provisioned(
    acceleration=KVM,
    transaction=Transaction(request=(), changes=(), install=()),
    kernel="6.1.0",
    drivers={},
    folder_sizes="",
)


def test_a_build_that_kvm_fails_starts_anew_with_tcg_in_an_empty_folder(
    tmp_path: Path, mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLSMITH_CACHE", str(tmp_path / "cache"))
    mocker.patch.object(remembered, "question", return_value="a question")
    folders: list[Path] = []

    def make_image(
        _plan: object, _image: Path, work: Path, acceleration: Acceleration, _reporter: object
    ) -> Provisioned:
        assert not list(work.iterdir())
        (work / "disk.raw").touch()
        folders.append(work)
        if acceleration.accelerator is Accelerator.KVM:
            raise AcceleratorError("the appliance died")
        return dataclasses.replace(FOUND, acceleration=acceleration)

    mocker.patch.object(build, "make_image", make_image)
    found = build.provisioned(mocker.sentinel.plan, tmp_path / "image", tmp_path, KVM, quiet_reporter())
    assert found.acceleration == Acceleration(accelerator=Accelerator.TCG, reason="the appliance died")
    assert len(set(folders)) == 2
    assert not any(folder.exists() for folder in folders)
