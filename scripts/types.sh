#!/bin/sh
# Runs mypy on a symlinked view of the tree, since it can't follow the mapping of train/, convert/ and edge/ to
# mien.*. Run from the repository's root.
set -eu
mkdir -p build/typing/mien
for package in edge train convert; do ln -sfn "../../../$package" "build/typing/mien/$package"; done
exec .venv/bin/mypy
