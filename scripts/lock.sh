#!/bin/sh
# Compiles the files in locks/ from pyproject.toml: exact versions with hashes, one file a layer of .venv.
# Options, such as --upgrade, go to uv. Run from the repository's root.
set -eu

uv=$PWD/.venv/bin/uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

compile() { # compile NAME OPTION… : writes $work/NAME.txt
    name=$1
    shift
    "$uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 --fork-strategy fewest \
        --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
        --output-file "$work/$name.txt" "$@"
}

# One resolution of everything first, so that the layers agree with each other. It starts from the
# versions that are locked now, so that without --upgrade only what pyproject.toml asks for changes.
cat locks/*.txt >"$work/all.txt" 2>/dev/null || true
compile all --extra headless --extra demo --extra train --extra kaggle --extra web --extra mqtt --extra metrics --extra deploy \
    --group build --group test --group browser --group lint "$@"

layer() { # layer NAME OPTION… : writes locks/NAME.txt
    name=$1
    if [ -e "locks/$name.txt" ]; then cp "locks/$name.txt" "$work"; fi
    compile "$@" --constraints "$work/all.txt"
    { echo "# Written by make lock from pyproject.toml; don't edit."; cat "$work/$name.txt"; } >"locks/$name.txt"
    echo "locks/$name.txt: $(grep -c '^[a-z]' "locks/$name.txt") packages"
}

mkdir -p locks
layer desktop --extra desktop --group build
layer headless --extra headless --group build
layer demo --extra demo
layer train --extra train --extra kaggle
layer outlets --extra web --extra mqtt --extra metrics
layer deploy --extra deploy --group build
layer test --group test
layer browser --group browser
layer lint --group lint

# LiteRT has no wheel for 32-bit ARM: there tflite-runtime is the only package of its own.
sed -n 's/^ *"\(tflite-runtime==[^;]*\);.*/\1/p' pyproject.toml >"$work/armv7l.in"
"$uv" pip compile "$work/armv7l.in" --quiet --no-deps --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-annotate --no-header --output-file "$work/armv7l.txt"
{ echo "# Written by make lock from pyproject.toml; don't edit."; cat "$work/armv7l.txt"; } >locks/armv7l.txt
