#!/bin/sh
# Sets .venv up for the other targets, or says what is missing. Usage, from the repository's root:
#   [PYTHON=python3.12] [OPENCV=desktop|headless] scripts/setup.sh LAYER…
# The runtime with OpenCV and Mien itself come always; a layer is a file in locks/ and comes once, and again when that
# file changes. A .venv that is half made, was moved or has another Python than PYTHON is made anew.
set -eu

here=$(pwd -P)
stamps=.venv/done # done/LAYER is a copy of the file that was installed, written last

say() { echo "mien: $*"; }
fail() {
    echo "mien: error: $*" >&2
    exit 1
}

# version PYTHON: prints such as "3 11" if it runs here and is 64 bit.
version() { "$1" -c 'import sys; assert sys.maxsize > 2**32; print(*sys.version_info[:2])' 2>/dev/null; }

# Prints the Python to take: rather one that TensorFlow has wheels for than one for the device's part alone.
find_python() {
    for newest in 13 14; do
        for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
            found=$(version "$name") || continue
            minor=${found#3 }
            if [ "${found%% *}" = 3 ] && [ "$minor" -ge 11 ] && [ "$minor" -le $newest ]; then
                echo "$name"
                return
            fi
        done
    done
    return 1
}

# apt_install PACKAGE…: installs them, or stops with the command that would.
apt_install() {
    if ! command -v apt-get >/dev/null; then
        fail "needs $*, or what your system calls them: install and try again"
    elif [ "$(id -u)" = 0 ]; then
        become=
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        become="sudo -n"
    else
        fail "needs packages of the system: sudo apt-get install -y $*"
    fi
    say "installs $* with apt-get"
    log=$(mktemp)
    # shellcheck disable=SC2086  # $become is nothing or two words
    if ! { $become apt-get update -qq && $become env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        fail "apt-get failed, its words are above: mend it, then: apt-get install -y $*"
    fi
    rm -f "$log"
}

make_venv() {
    case $(uname -m) in
    x86_64 | aarch64) ;;
    *) fail "OpenCV and the runtime have wheels for 64-bit x86 and ARM, this is $(uname -m): see README.md" ;;
    esac
    if ! python=$(find_python); then
        if [ -n "${PYTHON:-}" ]; then
            fail "PYTHON=$PYTHON isn't a 64-bit Python 3.11 to 3.14"
        elif ! command -v python3 >/dev/null; then
            apt_install python3 python3-venv
        fi
        python=$(find_python) || fail "no 64-bit Python 3.11 to 3.14 here (python3 is $(python3 -V 2>&1)):" \
            "install one and name it: make … PYTHON=/path/to/python3"
    fi
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        # Debian leaves ensurepip out of python3.x; python3.x-venv has it.
        apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    say "makes .venv with $("$python" -V)"
    rm -rf .venv
    "$python" -m venv .venv || fail "$python -m venv failed, its words are above"
    mkdir $stamps
    echo "$here" >.venv/place
}

pip() { .venv/bin/python -m pip -qq --disable-pip-version-check "$@"; }

# layer NAME WORDS [OPTION]: installs locks/NAME.txt unless that is done.
layer() {
    if ! cmp -s "locks/$1.txt" "$stamps/$1"; then
        say "installs $2 (locks/$1.txt)"
        # shellcheck disable=SC2086  # $3 is an option or nothing
        pip install ${3:-} --require-hashes -r "locks/$1.txt" || fail "pip failed, its words are above: try again"
        cp "locks/$1.txt" "$stamps/$1"
    fi
}

# pip's OpenCV with windows needs libraries of the system that servers and containers often lack.
opencv=${OPENCV:-}
if [ -z "$opencv" ]; then
    libraries=$(PATH=$PATH:/usr/sbin:/sbin ldconfig -p || true)
    opencv=desktop
    for library in libGL.so.1 libgthread-2.0.so.0; do
        case $libraries in *"$library"*) ;; *) opencv=headless ;; esac
    done
fi
case $opencv in
desktop) other=headless ;;
headless) other=desktop ;;
*) fail "OPENCV is desktop or headless, not $opencv" ;;
esac

if ! { [ "$(cat .venv/place 2>/dev/null)" = "$here" ] && has=$(version .venv/bin/python) &&
    { [ -z "${PYTHON:-}" ] || [ "$(version "$PYTHON")" = "$has" ]; }; }; then
    make_venv
fi

if [ -e $stamps/$other ]; then # both wheels own the folder cv2
    rm -f "$stamps/$other" "$stamps/$opencv"
    pip uninstall -y opencv-python opencv-python-headless
fi
layer "$opencv" "OpenCV for a $opencv machine and the runtime"

if ! cmp -s pyproject.toml $stamps/mien; then
    pip install --no-deps --no-build-isolation --editable . || fail "pip failed, its words are above"
    cp pyproject.toml $stamps/mien
fi

for name; do
    case $name in
    demo) layer demo "the photographs of the demo, with what they need" --no-compile ;; # only read, hardly imported
    train)
        layer train "TensorFlow and what else training needs"
        .venv/bin/python -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("tensorflow"))' ||
            fail "TensorFlow has no wheel for $(.venv/bin/python -V): name a Python 3.11 to 3.13: make … PYTHON=python3.13"
        ;;
    outlets) layer outlets "what the live page, MQTT and metrics need" ;;
    browser) layer browser "what the tests of the live page need" ;;
    test) layer test "what the tests need" ;;
    lint) layer lint "ruff, mypy, pre-commit and uv" ;;
    *) fail "no layer $name" ;;
    esac
done
