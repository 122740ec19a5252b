#!/bin/sh
# Deploys to one device or many with Ansible. Run from the repository's root, by make:
#   scripts/deploy.sh deploy|undeploy|model [BUNDLE]
# HOST=pi@raspberrypi.local or HOSTS=inventory says where to, SSH_CONFIG=file how; ARGS go to ansible-playbook.
set -eu

fail() {
    echo "mien: error: $*" >&2
    exit 1
}

what=$1
[ -n "${HOST:-}${HOSTS:-}" ] || fail "say where to: make $what HOST=pi@raspberrypi.local, or HOSTS=inventory"
[ -z "${HOST:-}" ] || [ -z "${HOSTS:-}" ] || fail "give HOST or HOSTS, not both"
inventory=${HOSTS:-$HOST,}
export ANSIBLE_PIPELINING=1 ANSIBLE_NOCOWS=1 ANSIBLE_RETRY_FILES_ENABLED=0 ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3
export ANSIBLE_HOST_KEY_CHECKING="${ANSIBLE_HOST_KEY_CHECKING:-True}" ANSIBLE_DISPLAY_SKIPPED_HOSTS=0
[ -z "${SSH_CONFIG:-}" ] || export ANSIBLE_SSH_ARGS="-F $SSH_CONFIG"

play() { # play BOOK OPTION…
    book=$1
    shift
    # shellcheck disable=SC2086  # ARGS is a list of options
    .venv/bin/ansible-playbook -i "$inventory" "$@" ${ARGS:-} "systemd/$book.yml"
}

case $what in
undeploy)
    play undeploy
    exit
    ;;
model)
    bundle=$2
    [ -f "$bundle/card.json" ] && [ -f "$bundle/model.tflite" ] || fail "BUNDLE=$bundle is no bundle: it lacks card.json or model.tflite"
    .venv/bin/mien info --model "$bundle" >/dev/null # damaged here is damaged there
    name=$(basename "$(cd "$bundle" && pwd)")-$(sha256sum "$bundle/model.tflite" | cut -c1-8)
    play deploy-model -e "bundle=$(cd "$bundle" && pwd)" -e "model=$name"
    exit
    ;;
deploy) ;;
*) fail "no such work: $what" ;;
esac

build=$PWD/build/deploy
mkdir -p "$build"
rm -rf build/lib build/bdist.* "$build"/mien-*.whl
# Files in the wheel have one time, so that the same tree makes the same release.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)
export SOURCE_DATE_EPOCH
.venv/bin/python -m build --wheel --no-isolation --outdir "$build" >"$build/log" 2>&1 || fail "the wheel wasn't built: see $build/log"
wheel=$(ls "$build"/mien-*.whl)
version=$(basename "$wheel" | cut -d- -f2)

# What a device needs, with the hashes of the lock files, and of Mien's own wheel.
requirements() { # requirements LOCKS PACKAGE… : without these packages
    locks=$1
    shift
    # shellcheck disable=SC2086  # LOCKS is a list
    sed 's/ ;.*\\$/ \\/' $locks | .venv/bin/python scripts/requirements.py "$@"
    echo "mien==$version --hash=sha256:$(sha256sum "$wheel" | cut -d' ' -f1)"
}
requirements "locks/headless.txt locks/outlets.txt" >"$build/release.txt"
# On 32 bits tflite-runtime takes the place of LiteRT and what LiteRT needs, and apt has the others.
requirements "locks/armv7l.txt locks/headless.txt locks/outlets.txt" ai-edge-litert backports-strenum flatbuffers \
    ml-dtypes protobuf tqdm numpy opencv-python-headless >"$build/release-armv7l.txt"
cp systemd/mien.service systemd/config.toml README.md "$build"
release=$version-$(cat "$build"/release*.txt "$build/mien.service" | sha256sum | cut -c1-12)

# Wheels for each kind of device that there may be, carried along: a device needs no internet.
kinds=${KINDS:-aarch64-311 aarch64-313 x86_64-311 x86_64-313 armv7l-311}
for kind in $kinds; do
    folder=$build/wheels-$kind machine=${kind%-*} python=${kind#*-}
    wanted=$build/release-$machine.txt
    [ -e "$wanted" ] || wanted=$build/release.txt
    if ! cmp -s "$wanted" "$folder/release.txt"; then
        echo "mien: gathers wheels for $machine, Python ${python%??}.${python#?}"
        rm -rf "$folder" && mkdir -p "$folder"
        platforms=
        for glibc in 2_17 2_26 2_27 2_28 2_31 2_34 2_35 2_36; do platforms="$platforms --platform manylinux_${glibc}_$machine"; done
        grep -v '^mien==' "$wanted" >"$folder/wanted.txt"
        # shellcheck disable=SC2086
        .venv/bin/python -m pip -qq --disable-pip-version-check download --no-deps --only-binary=:all: --require-hashes \
            --python-version "${python%??}.${python#?}" --platform "manylinux2014_$machine" $platforms \
            --dest "$folder" -r "$folder/wanted.txt" || fail "pip found no wheels for $kind, its words are above"
        rm "$folder/wanted.txt"
        cp "$wheel" "$folder"
        cp "$wanted" "$folder/release.txt"
    fi
    # One archive: a file at a time takes a slow network minutes.
    work=$(mktemp -d)
    mkdir "$work/wheels"
    cp "$folder"/*.whl "$work/wheels"
    cp "$folder/release.txt" "$build/mien.service" "$build/README.md" "$work"
    tar -C "$work" -cf "$folder.tar" wheels release.txt mien.service README.md
    rm -r "$work"
done
play deploy -e "build=$build" -e "release=$release" -e "packages=${PACKAGES:-auto}"
