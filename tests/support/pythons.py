"""The Pythons of this machine."""

import shutil
import subprocess
from pathlib import Path


def interpreter(python: str) -> str | None:
    """The program itself; None where it is not here. Of a version manager's each of its versions is looked for."""
    managed = sorted(Path.home().glob(f".pyenv/versions/*/bin/{python}"))
    path = managed[-1] if managed else shutil.which(python)
    if path is None:
        return None
    asked = subprocess.run(
        [path, "-c", "import sys; print(sys.executable)"], capture_output=True, check=False, text=True
    )
    return asked.stdout.strip() or None
