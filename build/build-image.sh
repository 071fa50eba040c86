#!/usr/bin/env bash
# Build an image: see --help.
exec "$(dirname "${BASH_SOURCE[0]}")/../scripts/toolsmith-image" build "$@"
