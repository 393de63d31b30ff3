#!/bin/bash
# Everything that must hold, on a fresh Debian 12 as root: style, unit and simulation tests, structure of the code, fuzzing,
# socket calls compared with the kernel's, and real programs in the rig. Ends with one line: N passed, N failed.
#
#   scripts/test.sh [PART]...     only the parts named so: style build unit simulation count structure fuzz calls programs;
#                                 and, if it is named, oracle: the packet scripts on the kernel, whose times are the wall clock's
#
# The output of each part is in build/test/.
set -euo pipefail
. "$(dirname "$0")/prelude.sh"

log_dir=$build_dir/test
parts=("$@")
passed=0 failed=0
running=

wanted() {
    local part
    [ ${#parts[@]} -gt 0 ] || return 0
    for part in "${parts[@]}"; do [ "$part" != "$1" ] || return 0; done
    return 1
}

# run NAME LIMIT_SECONDS COMMAND...: one piece of work. It counts as many tests as its output says that it has
# ("N passed; N failed"), or as one. A bad end counts as a failure even when no test says so.
run() {
    local name=$1 limit=$2 log=$log_dir/$1.log status=0 good bad
    shift 2
    progress "$name"
    # In the background, so that an interrupt is heard at once; `timeout` takes the whole group of processes with it.
    timeout --kill-after=20 "$limit" "$@" >"$log" 2>&1 </dev/null &
    running=$!
    wait $running || status=$?
    running=
    read -r good bad < <(counted "$log")
    if [ $((good + bad)) = 0 ] && [ $status = 0 ]; then good=1; fi
    if [ $status != 0 ] && [ "$bad" = 0 ]; then bad=1; fi
    passed=$((passed + good)) failed=$((failed + bad))
    [ $bad = 0 ] || complain "$name" "$log" "$status"
}

stop_running() {
    [ -n "$running" ] || return 0
    kill "$running" 2>/dev/null
    wait "$running"
    running=
}

counted() {
    sed -nE 's/^.*\b([0-9]+) passed[;,] ([0-9]+) failed.*$/\1 \2/p' "$1" | awk '{ good += $1; bad += $2 } END { print good + 0, bad + 0 }'
}

complain() { # NAME LOG STATUS
    say "FAILED: $1$([ "$3" != 124 ] || echo ', it took too long')"
    grep -A 8 -E '^(FAILED|FAIL |failed:|error|test .* FAILED|.*panicked at)' "$2" | head -n 80 >&2 || true
    tail -n 25 "$2" | sed 's/^/    /' >&2
    say "    (all of it: ${2#"$root_dir"/})"
}

# --- the structure of the code ---------------------------------------------------------------------------------------

# Whatever the library exports it must not import: a call to libc's version would come back to itself.
imports_none_of_its_exports() {
    local library=$release_dir/libshunt.so both
    nm -D --defined-only "$library" | awk '$2 ~ /[TWi]/ { sub(/@.*/, "", $3); print $3 }' | sort -u >"$log_dir/exported"
    nm -D --undefined-only "$library" | awk '{ sub(/@.*/, "", $2); print $2 }' | sort -u >"$log_dir/imported"
    [ -s "$log_dir/exported" ] || { echo 'libshunt.so exports nothing'; return 1; }
    both=$(comm -12 "$log_dir/exported" "$log_dir/imported")
    [ -z "$both" ] || { echo "libshunt.so imports what it exports: " $both; return 1; }
}

# The lint reaches all that a module contains, so one line at its root is enough.
protocol_forbids_unsafe() {
    local module status=0
    for module in wire ip tcp udp socket; do
        [ -e "stack/src/$module" ] || [ -e "stack/src/$module.rs" ] || continue
        grep -qsxF '#![forbid(unsafe_code)]' "stack/src/$module/mod.rs" "stack/src/$module.rs" ||
            { echo "stack/src/$module does not forbid unsafe code"; status=1; }
    done
    return $status
}

no_file_is_too_long() {
    find . \( -path ./target -o -path ./build -o -path ./.git -o -path ./fuzz/target \) -prune -o -type f \
        \( -name '*.rs' -o -name '*.c' -o -name '*.h' -o -name '*.sh' -o -name '*.py' -o -path './c-tests/run' -o -path './.ci/*' \) -print0 |
        xargs -0 wc -l | awk '$2 != "total" && $1 > 800 { print $2 " has " $1 " lines, 800 is the limit"; bad = 1 } END { exit bad }'
}

# Links and counts of the region may have been written over: region::walk follows them, and nothing else does.
walks_are_bounded() {
    local tables='(frames|meta|slab|entries|watches|references|listeners|connections|requests|time_waits)'
    ! grep -rnE --include='*.rs' -e "while let Some\\(.* = .*$tables\\.(meta|meta_mut|item_mut|item_at|head)\\(" \
        -e 'for _ in 0\.\.=?.*\.(len|capacity\(\)|total\(\)|high_water\(\)) \{' stack/src
}

# Building needs no clang, since the objects are checked in: here they are made again and compared.
bpf_objects_are_of_their_sources() { scripts/bpf.sh --check; }

nothing_left_behind() {
    local left
    left=$(ip netns list | awk -v rig="$rig" 'index($1, rig) == 1 { print $1 }')
    [ -z "$left" ] || { echo "network namespaces left behind: " $left; return 1; }
}

# ---------------------------------------------------------------------------------------------------------------------

style() {
    run style-fmt 60 cargo fmt --all --check
    run style-clippy 600 cargo clippy --quiet --workspace --exclude shim --all-targets -- -D warnings
    # No test target: one has std, and with it a second panic handler.
    run style-clippy-shim 300 cargo clippy --quiet -p shim -- -D warnings
    run style-clippy-programs 300 cargo clippy --quiet -p shunt-tests --test real_programs -- -D warnings
}

build() { run build 900 cargo build --release --workspace; }

unit() {
    run unit 900 cargo test --profile checked --workspace --no-fail-fast
    grep -E '^packet scripts: ' "$log_dir/unit.log" || true
}

# A thousand seeds of ten megabytes over wires of every kind, with the table of goodput against loss.
simulation() {
    SHUNT_SIM_SEEDS=1000 SHUNT_SIM_BYTES=10000000 \
        run simulation 900 cargo test --profile checked -p stack --test simulation megabytes -- --nocapture
    grep -E '^ *(loss|[0-9.]+%) ' "$log_dir/simulation.log" || true
}

# Instructions of the engine for each event, against those that are kept.
count() { run count 300 scripts/count.sh --check; }

structure() {
    local check
    export root_dir log_dir release_dir rig
    export -f imports_none_of_its_exports protocol_forbids_unsafe no_file_is_too_long walks_are_bounded \
        bpf_objects_are_of_their_sources
    for check in imports_none_of_its_exports protocol_forbids_unsafe no_file_is_too_long walks_are_bounded \
        bpf_objects_are_of_their_sources; do
        run "structure-$check" 60 bash -euo pipefail -c "$check"
    done
}

fuzz() { run fuzz 300 fuzz/run --short; }

# One program at a time; then many that share the keepers; then with the library but no keeper, where all is the kernel's.
calls() {
    RIG=$rig-calls run calls 600 c-tests/run
    RIG=$rig-calls run calls-together 300 c-tests/run --jobs 8
    RIG=$rig-calls run calls-without-keeper 300 c-tests/run --no-keeper --jobs 4
}

# What the packet scripts say of Linux, played on Linux. Its clock is the wall's, so a busy machine may make it miss a time:
# it is run when asked for by name.
oracle() { run oracle 900 cargo test --profile checked -p stack --test scripts -- --kernel; }

programs() {
    local files
    files=$(mktemp -d)
    chmod 755 "$files" # servers with dropped privileges read there
    at_end "rm -rf '$files'"
    at_end "RIG=$rig '$root_dir/scripts/rig.sh' down"
    at_end stop_running # first, or it would raise the next rig
    RIG=$rig TMPDIR=$files run programs 2400 cargo test --release -p shunt-tests --test real_programs
    export -f nothing_left_behind
    export rig
    run programs-nothing-left-behind 20 bash -euo pipefail -c nothing_left_behind
}

main() {
    need_root
    cd "$root_dir"
    "$root_dir/scripts/setup.sh"
    mkdir -p "$log_dir"
    at_end stop_running
    rig=shunt-test-$$
    local part
    for part in style build unit simulation count structure fuzz calls programs; do
        if wanted $part; then $part; fi
    done
    if [ ${#parts[@]} -gt 0 ] && wanted oracle; then oracle; fi
    progress "finished"
    printf '%d passed, %d failed\n' $passed $failed
    [ $failed = 0 ]
}

main
