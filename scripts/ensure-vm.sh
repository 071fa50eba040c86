#!/usr/bin/env bash
# Bring the image that a manifest names into Toolsmith's cache: see --help.
exec "$(dirname "${BASH_SOURCE[0]}")/toolsmith-image" ensure-vm "$@"
