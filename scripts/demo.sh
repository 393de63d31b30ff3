#!/bin/bash
# nginx under shunt in one network namespace, curl under shunt in another: the page, the proof that its bytes went over
# AF_XDP and past the kernel's TCP, and a short comparison of latency. Leaves nothing behind.
set -euo pipefail
. "$(dirname "$0")/prelude.sh"
. "$root_dir/scripts/measure.sh"

page='<h1>Hello from nginx, over shunt</h1>'

main() {
    need_root
    progress 'setting up'
    "$root_dir/scripts/setup.sh"
    progress 'building (the first time takes a minute or two)'
    (cd "$root_dir" && cargo build --release --quiet -p keeper -p shim)
    make -s -C "$root_dir/bench" pingpong
    make_scratch
    raise_rig both
    raise_rig kernel
    show_page
    prove
    stop_serving
    compare_latency
    progress 'done'
}

show_page() {
    printf '%s\n' "$page" >"$scratch/index.html"
    head -c 20000000 /dev/urandom >"$scratch/large.bin"
    nginx_configuration 1
    progress "nginx under shunt in $(rig_of both)-a"
    serve both balanced 8080 0 /usr/sbin/nginx -c "$scratch/nginx.conf" || die 'nginx does not start under shunt'
    remember
    progress "curl under shunt in $(rig_of both)-b"
    ask both balanced 1 /usr/bin/curl -sS --fail "http://$server_address:8080/" || die 'curl under shunt failed'
    cat "$scratch/client.log"
    grep -qF "$page" "$scratch/client.log" || die 'that is not the page'
    ask both balanced 1 /usr/bin/curl -sS --fail -o "$scratch/copy.bin" "http://$server_address:8080/large.bin" ||
        die 'curl of 20 MB under shunt failed'
    cmp -s "$scratch/large.bin" "$scratch/copy.bin" || die 'the 20 MB did not arrive as they were sent'
    progress '20 MB fetched too, byte for byte'
}

# --- the counters ----------------------------------------------------------------------------------------------------

declare -A before
region() { ip netns exec "$(rig_of both)-$1" "$shunt" status | awk -v name="$2" '$1 == name { print $2; found = 1 } END { exit !found }'; }
kernel_tcp() { # SIDE NAME: a counter of the namespace's own TCP, as nstat shows it
    ip netns exec "$(rig_of both)-$1" awk -v name="$2" \
        '$1 == "Tcp:" && !seen { for (i = 2; i <= NF; i++) at[$i] = i; seen = 1; next } $1 == "Tcp:" { print $at[name] }' /proc/net/snmp
}
redirected() { # frames that the device handed to AF_XDP
    ip netns exec "$(rig_of both)-$1" ethtool -S "$device" | awk '/xdp_redirect:/ { sum += $2 } END { print sum + 0 }'
}

counters='region:tcp_segments_in region:tcp_segments_out region:rx_frames region:tx_frames kernel_tcp:InSegs kernel_tcp:OutSegs redirected:'
remember() {
    local side counter
    for side in a b; do
        for counter in $counters; do before[$side$counter]=$(${counter%%:*} $side "${counter#*:}" 2>/dev/null || echo 0); done
    done
}

prove() {
    local side counter now grown failed=
    printf '\n%-44s %14s %14s\n' 'for one page and 20 MB' 'nginx' 'curl'
    for counter in $counters; do
        printf '%-44s' "$(described "$counter")"
        for side in a b; do
            now=$(${counter%%:*} $side "${counter#*:}") || die "no counter ${counter#*:}"
            grown=$((now - ${before[$side$counter]}))
            printf ' %14s' "$grown"
            case $counter in
            kernel_tcp:*) [ $grown = 0 ] || failed+=" the kernel's TCP carried segments ($counter);" ;;
            *) [ $grown -gt 0 ] || failed+=" nothing went over AF_XDP ($counter);" ;;
            esac
        done
        printf '\n'
    done
    [ -z "$failed" ] || die "not proven:$failed"
    printf '%s\n\n' 'All of it went over AF_XDP, and the kernel'"'"'s TCP saw not one segment.'
}

described() {
    case $1 in
    region:tcp_segments_in) echo 'shunt: TCP segments in' ;;
    region:tcp_segments_out) echo 'shunt: TCP segments out' ;;
    region:rx_frames) echo 'shunt: frames from AF_XDP' ;;
    region:tx_frames) echo 'shunt: frames to AF_XDP' ;;
    kernel_tcp:InSegs) echo 'kernel: TCP segments in (TcpInSegs)' ;;
    kernel_tcp:OutSegs) echo 'kernel: TCP segments out (TcpOutSegs)' ;;
    redirected:) echo 'device: frames redirected by XDP' ;;
    esac
}

# ---------------------------------------------------------------------------------------------------------------------

compare_latency() {
    local variant
    progress 'a TCP ping-pong of 64 bytes, both ends spinning, then both asleep on one core'
    printf '%-34s %10s %10s\n' 'round trip, microseconds' 'median' '99 %'
    for variant in kernel both; do
        compared $variant 'spinning' latency 0 1 --spin
        compared $variant 'asleep' balanced 0 0 ''
    done
}

compared() { # VARIANT MODE PROFILE SERVER_CPU CLIENT_CPU KERNEL_OPTION
    local variant=$1 mode=$2
    shift 2
    pingpong "$variant" "$1" "$2" "$3" 2 "$4" || die "the ping-pong on $variant failed"
    printf '%-34s %10s %10s\n' "$([ "$variant" = both ] && echo shunt || echo kernel), $mode" "$(said p50_us)" "$(said p99_us)"
}

main
