"""cloud-init seeds (the NoCloud data source), made with the tool that the manual tells a person to use.

https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
"""

import json
from pathlib import Path

from ci.host.process import run

SEED_SECONDS = 60.0
SEED_NAME = "seed.img"


def make_seed(folder: Path, user_data: str, meta_data: str) -> Path:
    """Make a seed disk in `folder`, which also keeps the files it was made of.

    It blocks for a moment; raises HostError where cloud-localds is missing, ToolError where it fails.
    """
    seed = folder / SEED_NAME
    user, meta = _written(folder / "user-data", user_data), _written(folder / "meta-data", meta_data)
    run(["cloud-localds", seed, user, meta], timeout=SEED_SECONDS)
    return seed


def meta_data(*, instance: str) -> str:
    """The meta-data: an instance's name, new for every instance."""
    return f"{json.dumps({'instance-id': instance})}\n"


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
