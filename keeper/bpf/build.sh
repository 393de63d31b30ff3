#!/bin/bash
# Builds steer.o from steer.c; with --check, compares what it builds with what is checked in.
# The object is checked in so that building shunt needs no clang. It is the same bytes wherever Debian 12's clang 14 makes it.
set -euo pipefail
cd "$(dirname "$0")"

clang=${CLANG:-clang}
strip=${LLVM_STRIP:-llvm-strip}
command -v "$strip" >/dev/null || strip=llvm-strip-14
output=steer.o
if [ "${1:-}" = --check ]; then
    output=$(mktemp)
    trap 'rm -f "$output"' EXIT
fi

# -g gives the BTF that describes the maps; the DWARF beside it (which holds paths) is stripped away again.
"$clang" -target bpf -mcpu=v2 -O2 -g -Wall -Wextra -Werror -fdebug-compilation-dir=. -c steer.c -o "$output"
"$strip" -g "$output"

if [ "${1:-}" = --check ]; then
    version=$("$clang" -dumpversion)
    if cmp -s "$output" steer.o; then
        echo "steer.o is what clang $version makes of steer.c"
    else
        echo "build.sh: steer.o is not what clang $version makes of steer.c: run keeper/bpf/build.sh and commit the result" >&2
        exit 1
    fi
fi
