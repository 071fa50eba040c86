#!/usr/bin/env bash
# Boot-test an image: see --help.
exec "$(dirname "${BASH_SOURCE[0]}")/toolsmith-image" validate "$@"
