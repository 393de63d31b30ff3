#!/bin/bash
# Instructions that the engine takes for each thing that it does, counted by callgrind, and where they go.
#
#   scripts/count.sh [--check | --write] [--top N] [EVENT]...
#
# --check    compares with stack/benches/instructions.txt: more than its tolerance above a figure is a failure, as much
#            below it is a hint to write anew
# --write    writes that file anew
# --top      so many functions for each event (12); with --check none
#
# The counts repeat exactly with the same compiler. What an event is, and what is inside its count, says
# stack/benches/instructions.txt.
set -euo pipefail
. "$(dirname "$0")/prelude.sh"

snapshot=$root_dir/stack/benches/instructions.txt
engine=$release_dir/examples/engine
rounds=2048
top=12
mode=print
events=()

while [ $# -gt 0 ]; do
    case $1 in
    --check) mode=check top=0 ;;
    --write) mode=write top=0 ;;
    --top) top=${2:?--top how many}; shift ;;
    -*) die "usage: $0 [--check | --write] [--top N] [EVENT]..." ;;
    *) events+=("$1") ;;
    esac
    shift
done

setting() { sed -n "s/^# $1: *//p" "$snapshot"; }

count() { # EVENT: sets `counted`, per event
    local profile=$scratch/$1
    valgrind --tool=callgrind --callgrind-out-file="$profile" --toggle-collect='*::measured' \
        "$engine" "$1" "$rounds" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; die "callgrind failed on $1"; }
    counted=$(awk -v rounds=$rounds '/Collected/ { printf "%.0f", $4 / rounds }' "$scratch/log")
}

# Functions by what they cost themselves, or with what they call (as several files give code to one function, the same
# inclusive cost is listed once for each of them).
functions() { # PROFILE yes|no
    callgrind_annotate --auto=no --threshold=100 --inclusive="$2" "$1" | awk -v rounds=$rounds -v inclusive="$2" '
        /^ *[0-9,]+ \(/ && !/PROGRAM TOTALS/ {
            cost = $1; gsub(",", "", cost)
            sub(/^ *[0-9,]+ \([^)]*\) */, ""); sub(/^[^:]*:/, ""); sub(/ \[[^]]*\]$/, "")
            if (inclusive == "yes") { if (cost + 0 > sum[$0]) sum[$0] = cost + 0 } else sum[$0] += cost
        }
        END { for (name in sum) if (name ~ /stack::|siphasher::|^__mem/) printf "    %7.1f  %s\n", sum[name] / rounds, name }' |
        sort -rn | sed -n "1,${top}p"
}

compare() { # EVENT COUNT
    local kept
    kept=$(awk -v event="$1" '$1 == event { print $2 }' "$snapshot")
    [ -n "$kept" ] || { say "$1: not in ${snapshot#"$root_dir"/}"; return 1; }
    awk -v event="$1" -v kept="$kept" -v now="$2" -v tolerance="$(setting tolerance)" 'BEGIN {
        share = (now / kept - 1) * 100
        verdict = share > tolerance + 0 ? "MORE" : share < -tolerance ? "less: write it anew" : "as kept"
        printf "%-18s %6d %6d %+6.1f %%  %s\n", event, kept, now, share, verdict
        exit share > tolerance + 0
    }'
}

main() {
    "$root_dir/scripts/setup.sh"
    (cd "$root_dir" && cargo build --release --quiet -p stack --example engine)
    scratch=$(mktemp -d)
    at_end "rm -rf '$scratch'"
    local name meaning failures=0 same_compiler=yes
    [ "$(rustc --version | cut -d' ' -f2)" = "$(setting rustc)" ] || same_compiler=no
    while IFS=$'\t' read -r name meaning; do
        [ ${#events[@]} = 0 ] || [[ " ${events[*]} " = *" $name "* ]] || continue
        count "$name"
        case $mode in
        check) compare "$name" "$counted" || failures=$((failures + 1)) ;;
        write) printf '%-18s %6d  %s\n' "$name" "$counted" "$meaning" | tee -a "$scratch/figures" ;;
        print)
            printf '%-18s %6d  %s\n' "$name" "$counted" "$meaning"
            [ "$top" = 0 ] || { say '  in itself:'; functions "$scratch/$name" no; say '  with what it calls:'; functions "$scratch/$name" yes; }
            ;;
        esac
    done < <("$engine")
    if [ $mode = write ]; then
        { sed -n '/^#/p' "$snapshot" | sed "s/^# rustc: .*/# rustc: $(rustc --version | cut -d' ' -f2)/"; cat "$scratch/figures"; } >"$scratch/new"
        mv "$scratch/new" "$snapshot"
    fi
    [ $same_compiler = yes ] || { say "another compiler than the kept figures are from ($(setting rustc)): no verdict"; failures=0; }
    [ $failures = 0 ] || die "$failures events take more instructions than they did"
}

main
