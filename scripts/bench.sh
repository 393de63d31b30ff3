#!/bin/bash
# Kernel and shunt, measured in turns in the same run: one table of medians, with ratios to the kernel and to the floor.
#
#   scripts/bench.sh [--quick] [--only WORD]... [--repeat N]
#
# --quick    fewer and shorter measurements (about three minutes)
# --only     only the rows whose name contains WORD
#
# Every row is measured for nobody, the server, the client and both on shunt, round after round, so that a slow minute of
# the machine hits them all. The samples end up in build/bench.tsv (row, unit, variant, round, value), the medians in
# build/bench-medians.tsv.
set -euo pipefail
. "$(dirname "$0")/prelude.sh"
. "$root_dir/scripts/measure.sh"

variants=(kernel server client both)
rounds=5 seconds=2 divide=1
only=()

while [ $# -gt 0 ]; do
    case $1 in
    --quick) rounds=2 seconds=1 divide=4 ;;
    --only) only+=("${2:?--only what}"); shift ;;
    --repeat) rounds=${2:?--repeat how often}; shift ;;
    *) die "usage: $0 [--quick] [--only WORD]... [--repeat N]" ;;
    esac
    shift
done

samples=$build_dir/bench.tsv
failures=0

record() { # ROW UNIT VARIANT VALUE
    [ -n "$4" ] || { say "no value for $1 of $3"; return 1; }
    printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$round" "$4" >>"$samples"
}

wanted() {
    local word
    [ ${#only[@]} -gt 0 ] || return 0
    for word in "${only[@]}"; do [[ $1 != *"$word"* ]] || return 0; done
    return 1
}

# --- the rows: each measures one variant once ------------------------------------------------------------------------

ping_row() { # VARIANT ROW PROFILE SERVER_CPU CLIENT_CPU KERNEL_OPTION [options]
    local variant=$1 row=$2 profile=$3 server_cpu=$4 client_cpu=$5
    shift 5
    pingpong "$variant" "$profile" "$server_cpu" "$client_cpu" "$seconds" "$@" || return 1
    record "$row p50" us "$variant" "$(said p50_us)" && record "$row p99" us "$variant" "$(said p99_us)"
}

# On the kernel a program spins by non-blocking calls in a loop. Shunt spins inside the blocking call (--profile latency),
# and, in a row of its own, under the very same looping program.
row_spin_loop() { ping_row "$1" 'ping-pong, program spins' latency 0 1 '' --spin; }
row_spin_call() { ping_row "$1" 'ping-pong, call spins' latency 0 1 --spin; }
row_block_two() { ping_row "$1" 'ping-pong, asleep, two cores' balanced 0 1 ''; }
row_block_one() { ping_row "$1" 'ping-pong, asleep, one core' balanced 0 0 ''; }

sockperf_row() { # VARIANT ROW PROFILE [options]
    local variant=$1 row=$2 profile=$3 status=0 half
    shift 3
    serve "$variant" "$profile" 11111 0 sockperf server --tcp -i "$server_address" -p 11111 "$@" &&
        ask "$variant" "$profile" 1 sockperf ping-pong --tcp -i "$server_address" -p 11111 -t "$seconds" -m 64 "$@" || status=1
    stop_serving
    [ $status = 0 ] || return 1
    # sockperf prints half of the round trip.
    for half in 50.000 99.000; do
        record "$row p${half%%.*}" us "$variant" \
            "$(awk -v p="$half" '$0 ~ "percentile " p { print 2 * $NF }' "$scratch/client.log")" || return 1
    done
}
row_sockperf_spin() { sockperf_row "$1" 'sockperf, spinning' latency --nonblocked; }
row_sockperf_block() { sockperf_row "$1" 'sockperf, asleep, two cores' balanced; }

row_connections() {
    pingpong "$1" balanced 0 1 "$seconds" '' --connect || return 1
    record 'connections in turn' /s "$1" "$(said per_second)" && record 'connection, 64 B, close: p50' us "$1" "$(said p50_us)"
}

row_nginx() {
    local variant=$1 status=0 connections
    nginx_configuration 1
    serve "$variant" balanced 8080 0 /usr/sbin/nginx -c "$scratch/nginx.conf" || { stop_serving; return 1; }
    for connections in 1 16 64; do
        wrk_row "$variant" "nginx, $connections connections" "$connections" || status=1
    done
    wrk_row "$variant" 'nginx, Connection: close' 16 -H 'Connection: close' || status=1
    stop_serving
    return $status
}
wrk_row() { # VARIANT ROW CONNECTIONS [options]
    local variant=$1 row=$2 connections=$3
    shift 3
    ask "$variant" balanced 1 wrk --latency -t 1 -c "$connections" -d "${seconds}s" "$@" "http://$server_address:8080/" || return 1
    ! grep -E 'Socket errors|Non-2xx' "$scratch/client.log" >&2 || { say "wrk saw errors: $variant, $row"; return 1; }
    record "$row" req/s "$variant" "$(awk '$1 == "Requests/sec:" { print $2 }' "$scratch/client.log")" &&
        record "$row: p99" us "$variant" "$(awk '$1 == "99%" { print $2 }' "$scratch/client.log" |
            awk '/us$/ { print $1 + 0; next } /ms$/ { print $1 * 1000; next } { print $1 * 1e6 }')"
}

row_redis() {
    local variant=$1 status=0
    serve "$variant" balanced 6379 0 redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --save '' --appendonly no ||
        { stop_serving; return 1; }
    redis_row "$variant" 1 1 40000 && redis_row "$variant" 50 1 160000 &&
        redis_row "$variant" 1 16 400000 && redis_row "$variant" 50 16 800000 || status=1
    stop_serving
    return $status
}
redis_row() { # VARIANT CLIENTS PIPELINE REQUESTS
    local row="redis GET, $2 clients, pipeline $3"
    ask "$1" balanced 1 redis-benchmark -h "$server_address" -p 6379 -t get -c "$2" -P "$3" -n $(($4 / divide)) --csv || return 1
    # "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
    record "$row" req/s "$1" "$(awk -F'"' '$2 == "GET" { print $4 }' "$scratch/client.log")" &&
        record "$row: p99" us "$1" "$(awk -F'"' '$2 == "GET" { print $14 * 1000 }' "$scratch/client.log")"
}

row_bulk() {
    local variant=$1 status=0 way
    for way in up down; do
        serve "$variant" balanced 5201 0 iperf3 -s -1 -p 5201 &&
            ask "$variant" balanced 1 iperf3 -c "$server_address" -p 5201 -t "$seconds" -f m $([ $way = up ] || echo -R) &&
            record "iperf3, one flow, $way" Gb/s "$variant" \
                "$(awk '/receiver/ { for (i = 1; i < NF; i++) if ($(i + 1) == "Mbits/sec") printf "%.2f", $i / 1000 }' "$scratch/client.log")" ||
            status=1
        stop_serving
    done
    return $status
}

# The floor has a rig of its own, and nothing of shunt in it.
row_floor() {
    local rig mac mode options server_cpu client_cpu
    rig=$(rig_of floor)
    mac=$(ip netns exec "$rig-a" cat "/sys/class/net/$device/address")
    while IFS='|' read -r mode options server_cpu client_cpu; do
        taskset -c "$server_cpu" ip netns exec "$rig-a" "$bench_bin/floor" echo "$device" $options >"$scratch/server.log" 2>&1 &
        serving=$!
        await_ready "$scratch/server.log" "$serving" 5 || { cat "$scratch/server.log" >&2; stop_serving; return 1; }
        timeout --foreground 40 taskset -c "$client_cpu" ip netns exec "$rig-b" \
            "$bench_bin/floor" ping "$device" "$mac" $options --seconds "$seconds" >"$scratch/client.log" || { stop_serving; return 1; }
        stop_serving
        record "$mode p50" us floor "$(said p50_us)"
        record "$mode p99" us floor "$(said p99_us)"
    done <<<'ping-pong, program spins||0|1
ping-pong, call spins||0|1
ping-pong, asleep, two cores|--sleep|0|1
ping-pong, asleep, one core|--sleep|0|0'
}

# ---------------------------------------------------------------------------------------------------------------------

# The words that --only is compared with.
declare -A row_names=(
    [row_spin_loop]='ping-pong, program spins' [row_spin_call]='ping-pong, call spins'
    [row_block_two]='ping-pong, asleep, two cores' [row_block_one]='ping-pong, asleep, one core'
    [row_sockperf_spin]='sockperf spinning' [row_sockperf_block]='sockperf asleep'
    [row_connections]='connections' [row_nginx]='nginx' [row_redis]='redis' [row_bulk]='iperf3 bulk'
)
rows=(row_spin_loop row_spin_call row_block_two row_block_one row_sockperf_spin row_sockperf_block
    row_connections row_nginx row_redis row_bulk)

main() {
    need_root
    "$root_dir/scripts/setup.sh"
    progress 'building'
    (cd "$root_dir" && cargo build --release --quiet --workspace)
    make -s -C "$root_dir/bench"
    mkdir -p "$build_dir"
    : >"$samples"
    make_scratch
    printf '<html>%0100d</html>\n' 0 >"$scratch/index.html"
    local variant row
    for variant in "${variants[@]}" floor; do raise_rig "$variant"; done
    for ((round = 1; round <= rounds; round++)); do
        if wanted 'ping-pong floor'; then row_floor || failures=$((failures + 1)); fi
        for row in "${rows[@]}"; do
            wanted "${row_names[$row]}" || continue
            progress "round $round of $rounds: ${row_names[$row]}"
            for variant in "${variants[@]}"; do
                "$row" "$variant" || failures=$((failures + 1))
            done
        done
    done
    awk -f "$root_dir/bench/table.awk" -v medians="$build_dir/bench-medians.tsv" "$samples"
    [ $failures = 0 ] || die "$failures measurements failed (see above): their rows rest on fewer rounds or are missing"
}

main
