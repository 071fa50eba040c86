#!/usr/bin/env bash
# Run the consumer's tool of this checkout. Its libraries, those of the lock file, get a folder of their own: neither the
# runner's Python nor the consumer's environment is touched. WORKSPACE, MANIFEST and LOCALIZE are the action's inputs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
libraries=${RUNNER_TEMP:?}/toolsmith-ensure-vm

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "::error::ensure-vm needs Python 3.10 or later; put actions/setup-python before it" >&2
    exit 3
fi
if [[ ! -d $libraries ]]; then
    python3 -I "$here/run.py" "$root" ci.consume.bundle >"$libraries.txt"
    python3 -I -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
        --target "$libraries.new" --requirement "$libraries.txt"
    mv "$libraries.new" "$libraries"
fi
flags=(--workspace "${WORKSPACE:-.}")
if [[ -n ${MANIFEST:-} ]]; then flags+=(--manifest "$MANIFEST"); fi
if [[ ${LOCALIZE:-false} == true ]]; then flags+=(--localize); fi
exec python3 -I "$here/run.py" "$root:$libraries" ci.ensure_vm "${flags[@]}" "$@"
