#!/bin/bash
# Builds the BPF objects from their sources; with --check, compares what it builds with what is checked in.
# They are checked in so that building shunt needs no clang, and are the same bytes wherever Debian 12's clang 14 makes them.
set -euo pipefail
. "$(dirname "$0")/prelude.sh"

sources=(keeper/bpf/steer.c tests/bpf/impair.c)
clang=${CLANG:-clang}
strip=${LLVM_STRIP:-llvm-strip}
command -v "$strip" >/dev/null || strip=llvm-strip-14

# -g gives the BTF that describes the maps; the DWARF beside it (which holds paths) is stripped away again.
compile() { # SOURCE OBJECT
    (cd "$(dirname "$1")" &&
        "$clang" -target bpf -mcpu=v2 -O2 -g -Wall -Wextra -Werror -fdebug-compilation-dir=. -c "${1##*/}" -o "$2")
    "$strip" -g "$2"
}

compare() { # SOURCE OBJECT
    local version
    version=$("$clang" -dumpversion)
    cmp -s "$2" "${1%.c}.o" || die "${1%.c}.o is not what clang $version makes of $1: run $0 and commit the result"
    echo "${1%.c}.o is what clang $version makes of $1"
}

cd "$root_dir"
scratch=$(mktemp -d)
at_end "rm -rf '$scratch'"
for source in "${sources[@]}"; do
    object=$scratch/object.o
    compile "$source" "$object"
    if [ "${1:-}" = --check ]; then compare "$source" "$object"; else cp "$object" "${source%.c}.o"; fi
done
