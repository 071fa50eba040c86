"""cloud-init seeds (the NoCloud data source), made with the tool that the manual tells a person to use.

https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
"""

import json
from pathlib import Path

from ci.host.process import run

SEED_SECONDS = 60.0
SEED_NAME = "seed.img"


def make_seed(folder: Path, user_data: str, *, instance: str, network: str = "") -> Path:
    """Make a seed disk in `folder`, which also keeps the files it was made of. `instance` is new for every guest.

    `network` is its network-config, '' for none. It blocks for a moment; raises HostError where cloud-localds is
    missing, ToolError where it fails.
    """
    seed, user, meta, config = (folder / name for name in (SEED_NAME, "user-data", "meta-data", "network-config"))
    user.write_text(user_data, encoding="utf-8")
    meta.write_text(f"{json.dumps({'instance-id': instance})}\n", encoding="utf-8")
    config.write_text(network, encoding="utf-8")
    with_network = [f"--network-config={config}"] if network else []
    run(["cloud-localds", *with_network, seed, user, meta], timeout=SEED_SECONDS)
    return seed
