#!/usr/bin/env bash
# Bring the image that a manifest names into Toolsmith's cache: see --help.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ ! -x $root/.venv/bin/python ]]; then
    echo "error: the Python environment is not set up; run: make -C $root setup" >&2
    exit 3
fi
PYTHONPATH=$root exec "$root/.venv/bin/python" -m ci.ensure_vm "$@"
