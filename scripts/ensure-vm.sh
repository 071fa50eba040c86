#!/usr/bin/env bash
# Bring the image that a manifest names into Toolsmith's cache: see --help.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ ! -x $root/.venv/bin/python ]]; then
    echo "error: the Python environment is not set up; run: make -C $root setup" >&2
    exit 3
fi
# -P: it is run in folders of other projects, whose `ci` must not be taken for ours.
PYTHONPATH=$root exec "$root/.venv/bin/python" -P -m ci.ensure_vm "$@"
