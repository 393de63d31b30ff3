#!/bin/bash
# Goodput over a bad wire: shunt against Linux, cell by cell of loss and round trip, in turns and under the same seeds.
#
#   scripts/loss.sh [--quick] [--seeds N] [--cells LOSS,RTT]... [--rate MBIT] [--seconds S] [--congestion NAME]
#                   [--wire "OPTIONS"] [--slots N] [--variants "NAME..."]
#
# --quick        six cells, two seeds
# --seeds N      how many seeds each cell is measured with [5]
# --cells L,R    only this cell: loss in percent, of each direction, and round trip in milliseconds; may be repeated
# --rate MBIT    of the bottleneck [100]; its queue holds one round trip, at least 256 packets
# --seconds S    how long a transfer should take, as far as loss and round trip let it be guessed [4]
# --congestion   control of the sender [cubic]
# --wire         further damage, as the options of tests/src/impair say: "--reorder 1 --duplicate 1"
# --variants     only these of kernel (both ends on Linux), client (shunt sends), server (shunt receives) and both
# --slots N      transfers side by side in the cells that leave the processors idle [4]
#
# A transfer is so many bytes from one end to the other, each of them checked. Who sends and who receives, on Linux or on
# shunt, are four variants with a rig each. Samples end up in build/loss.tsv, the table in build/loss.txt.
set -euo pipefail
. "$(dirname "$0")/prelude.sh"
. "$root_dir/scripts/measure.sh"

variants=(kernel client server both)
losses=(0 0.01 0.1 1 3 10) round_trips=(1 10 50 200)
seeds=5 rate=100 seconds=4 slots=4 congestion=cubic wire=
cells=()
limit=60          # a transfer that takes longer is cut off
first=(chrt -r 1) # before whatever else keeps the machine busy, as the relay is
busy_above=25     # Mb/s of a cell above which transfers go one by one

while [ $# -gt 0 ]; do
    case $1 in
    --quick) cells+=(0,10 0.1,10 1,50 3,10 10,10 0,200); seeds=2 ;;
    --seeds) seeds=${2:?--seeds how many}; shift ;;
    --cells) cells+=("${2:?--cells loss,rtt}"); shift ;;
    --rate) rate=${2:?--rate of how many megabits}; shift ;;
    --seconds) seconds=${2:?--seconds how many}; shift ;;
    --congestion) congestion=${2:?--congestion control of what name}; shift ;;
    --wire) wire=${2:?--wire which options}; shift ;;
    --variants) read -ra variants <<<"${2:?--variants which}"; shift ;;
    --slots) slots=${2:?--slots how many}; shift ;;
    --help | -h) sed -n '2,/^set -/{/^set -/d; s/^# \{0,1\}//; p}' "$0"; exit 0 ;;
    *) die "unknown: $1; $0 --help" ;;
    esac
    shift
done
if [ ${#cells[@]} = 0 ]; then
    for loss in "${losses[@]}"; do for round_trip in "${round_trips[@]}"; do cells+=("$loss,$round_trip"); done; done
fi

samples=$build_dir/loss.tsv
session=$$

# Each slot has the four rigs of its own; `run_id` is what measure.sh names them by.
slot_id() { run_id=$session-$1; }

raise_slot() {
    local variant
    slot_id "$1"
    for variant in "${variants[@]}"; do
        RIG_MIDDLE=yes raise_rig "$variant"
        case $variant in server | both) keep "$variant" a ;; esac
        case $variant in client | both) keep "$variant" b ;; esac
    done
}

# A keeper of our own, which stays between transfers; rig.sh ends it. Its region holds many times what the longest wire does.
keep() { # VARIANT SIDE
    local namespace tries
    namespace=$(rig_of "$1")-$2
    "${first[@]}" ip netns exec "$namespace" "$shunt" keeper --dev "$device" --memory 256M --tcp "tcp_congestion_control=$congestion" >"$scratch/keeper-$namespace.log" 2>&1 </dev/null &
    for ((tries = 0; tries < 200; tries++)); do
        ! ip netns exec "$namespace" "$shunt" status >/dev/null 2>&1 || return 0
        sleep 0.05
    done
    die "no keeper in $namespace: $(tail -n 3 "$scratch/keeper-$namespace.log")"
}

# guess LOSS RTT: megabits per second that a flow may reach there: CUBIC's (RFC 9438, section 5), or Reno's with what the
# timeouts cost that loss repairs cannot avoid (after Padhye, Firoiu, Towsley and Kurose, with fewer of them).
guess() {
    awk -v loss="$1" -v rtt="$2" -v rate="$rate" 'BEGIN {
        p = loss / 100; rtt /= 1000
        if (!p) { print rate; exit }
        cubic = 1.054 * (rtt / p) ^ 0.75 / rtt
        stalled = 3 * sqrt(3 * p / 8); stalled = 0.4 * (0.2 + rtt) * (stalled < 1 ? stalled : 1) * p * (1 + 32 * p * p)
        reno = 1 / (rtt * sqrt(2 * p / 3) + stalled)
        mbit = (cubic > reno ? cubic : reno) * 1448 * 8 / 1e6
        print mbit < rate ? mbit : rate }'
}

bytes_of() { # MEGABITS
    awk -v mbit="$1" -v s="$seconds" 'BEGIN { bytes = mbit * s * 125000; printf "%d", bytes < 200000 ? 200000 : bytes }'
}

queue_of() { # RTT
    awk -v rtt="$1" -v rate="$rate" 'BEGIN { q = rate * rtt * 1000 / 8 / 1538; printf "%d", q < 256 ? 256 : q }'
}

# transfer VARIANT LOSS RTT SEED BYTES: one sample, in a directory of its own. Fails when a byte is wrong or an end breaks.
transfer() {
    local variant=$1 loss=$2 round_trip=$3 seed=$4 bytes=$5 relay status=0
    local port=$((7000 + seed))
    ip netns exec "$(rig_of "$variant")-m" "$release_dir/impair" to-a to-b --seed "$seed" --loss "$loss" --rtt "$round_trip" \
        --rate "$rate" --queue "$(queue_of "$round_trip")" $wire >"$scratch/relay.log" 2>&1 &
    relay=$!
    await_ready "$scratch/relay.log" "$relay" 4 || { cat "$scratch/relay.log" >&2; return 1; }
    place "$variant" a balanced
    "${first[@]}" "${placed[@]}" "$release_dir/transfer" receive "$port" "$seed" $limit >"$scratch/server.log" 2>&1 </dev/null &
    serving=$!
    place "$variant" b balanced
    if await_port "$variant" "$port" && timeout --foreground $((limit + 30)) "${first[@]}" "${placed[@]}" "$release_dir/transfer" send \
        "$server_address" "$port" "$seed" "$bytes" "$congestion" >"$scratch/client.log" 2>"$scratch/client.err" </dev/null; then
        wait $serving || status=1
        serving=
    else
        status=1
        stop_serving
    fi
    # The last ACKs are still under way: nothing of this transfer is to be counted among the packets of the next.
    sleep "$(awk -v rtt="$round_trip" 'BEGIN { print rtt / 400 + 0.05 }')"
    end "$relay"
    wait "$relay" 2>/dev/null || true
    [ $status = 0 ] && note "$@" && return
    say "FAILED: $variant, loss $loss %, $round_trip ms, seed $seed"
    tail -n 5 "$scratch"/{server,client,relay}.log "$scratch/client.err" >&2
    return 1
}

# loss, round trip, variant, seed, megabits per second, complete, retransmissions, packets that the relay itself lost
note() {
    local strays
    strays=$(awk '/_stray|^out_of_memory/ { sum += $2 } END { print sum + 0 }' "$scratch/relay.log")
    awk -v OFS='\t' -v variant="$1" -v loss="$2" -v rtt="$3" -v seed="$4" -v strays="$strays" -v sent="$(said total_retrans)" '
        { value[$1] = $2 }
        END { print loss, rtt, variant, seed, value["bytes"] * 8 / 1e6 / value["seconds"], value["complete"], sent + 0, strays }' \
        "$scratch/server.log" >>"$samples"
    [ "$strays" = 0 ] || say "the relay lost $strays packets by itself: $1, loss $2 %, $3 ms, seed $4"
}

# One seed through all variants, beginning with another one each time.
seed_through() { # SLOT LOSS RTT SEED BYTES
    local i status=0
    slot_id "$1"
    scratch=$scratch/$1
    mkdir -p "$scratch"
    for ((i = 0; i < ${#variants[@]}; i++)); do
        transfer "${variants[($4 + i) % ${#variants[@]}]}" "${@:2}" || status=1
    done
    return $status
}

measure_cell() { # LOSS RTT
    local mbit bytes abreast seed pids pid
    mbit=$(guess "$1" "$2")
    bytes=$(bytes_of "$mbit")
    abreast=$(awk -v m="$mbit" -v busy=$busy_above -v slots="$slots" 'BEGIN { print (m > busy ? 1 : slots) }')
    progress "loss $1 %, round trip $2 ms: $seeds seeds of $bytes bytes"
    for ((seed = 1; seed <= seeds; seed += abreast)); do
        pids=()
        for ((i = 0; i < abreast && seed + i <= seeds; i++)); do
            (trap - EXIT; seed_through $i "$1" "$2" $((seed + i)) "$bytes") &
            pids+=($!)
        done
        for pid in "${pids[@]}"; do wait "$pid" || failures=$((failures + 1)); done
    done
}

settings() {
    local namespace
    namespace=$(rig_of kernel)-a
    printf 'Linux %s, %s; %s Mb/s each way; ' "$(uname -r)" "$congestion" "$rate"
    ip netns exec "$namespace" sysctl net.ipv4.tcp_{rmem,wmem,sack,recovery,early_retrans,timestamps,no_metrics_save,moderate_rcvbuf} \
        net.core.{rmem,wmem}_max 2>/dev/null | sed 's/net\.[a-z0-9]*\.//; s/[\t ]\+/ /g' | paste -sd';' | sed 's/;/; /g'
}

main() {
    local cell failures=0 slot
    need_root
    [ -z "${SKIP_BUILD:-}" ] || progress 'not building'
    [ -n "${SKIP_BUILD:-}" ] || { progress 'building'; (cd "$root_dir" && cargo build --release --quiet --workspace); }
    mkdir -p "$build_dir"
    : >"$samples"
    make_scratch
    # Whoever builds meanwhile changes nothing here.
    cp "$release_dir"/{shunt,libshunt.so,impair,transfer} "$scratch"
    release_dir=$scratch
    shunt=$scratch/shunt
    progress 'raising rigs'
    for ((slot = 0; slot < slots && slot < seeds; slot++)); do raise_slot $slot; done
    for cell in "${cells[@]}"; do measure_cell "${cell%,*}" "${cell#*,}"; done
    slot_id 0
    { settings; awk -f "$root_dir/bench/loss.awk" "$samples"; } | tee "$build_dir/loss.txt"
    [ $failures = 0 ] || die "$failures seeds failed in some variant (see above)"
}

main
