from pathlib import Path

import pytest

from ci.boot.vm.seed import make_seed

pytestmark = pytest.mark.integration

VOLUME_LABEL = slice(16 * 2048 + 40, 16 * 2048 + 72)  # ISO 9660's primary volume descriptor


def test_a_seed_is_a_disk_that_cloud_init_knows_by_its_label(tmp_path: Path) -> None:
    user_data = "#cloud-config\nhostname: käfer\n"
    seed = make_seed(tmp_path, user_data, instance='i-"1"')
    content = seed.read_bytes()
    assert content[VOLUME_LABEL].strip() == b"cidata"
    assert user_data.encode() in content
    assert b'{"instance-id": "i-\\"1\\""}\n' in content
