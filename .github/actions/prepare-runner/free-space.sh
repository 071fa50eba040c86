#!/usr/bin/env bash
# Remove SDKs that a hosted runner brings and nobody here uses, one after the other, until enough space is free; or the
# folders given as arguments.
# Most runners have enough, and removing takes minutes: those are left alone.
# https://github.com/actions/runner-images/issues/2840
set -euo pipefail

needed_gib=${NEEDED_GIB:-16} # a build, its cache and the appliance take 9; tests keep several images
unused=("$@")
((${#unused[@]})) || unused=(
    /usr/local/lib/android
    /usr/share/dotnet
    /opt/ghc
    /usr/local/.ghcup
    /usr/share/swift
    /opt/hostedtoolcache/CodeQL
)

free_gib() { df --output=avail --block-size=1G . | tail -n 1; }

for folder in "${unused[@]}"; do
    if (($(free_gib) >= needed_gib)); then break; fi
    if [[ -e $folder ]]; then
        echo "removing $folder: $(free_gib) GiB are free, $needed_gib GiB are wanted"
        sudo rm -rf "$folder"
    fi
done
echo "$(free_gib) GiB are free"
