#!/bin/bash
# The rig: two network namespaces joined by a veth pair, for tests that must not touch the machine's own network.
#
#   scripts/rig.sh up            raises ${RIG}-a (server, 10.99.0.1/24) and ${RIG}-b (client, 10.99.0.2/24)
#   scripts/rig.sh exec a CMD    runs CMD in one of them (`sh a` opens a shell)
#   scripts/rig.sh down          ends what runs inside and removes both; succeeds when there is nothing
#
# RIG         prefix of the namespaces, default shunt: another prefix is another rig, side by side
# RIG_QUEUES  RX and TX queues of each device, default 1
#
# The device is called veth0 on both sides, with MTU 1500 and the offloads that the kernel gives it. Nothing needs to be
# switched off for AF_XDP: when an XDP program is attached to one end, veth takes TSO and UDP GSO away from the *other*
# end, so that a kernel peer sends frames no longer than the MTU, and gives it back on detach. What stays is
# CHECKSUM_PARTIAL: a kernel peer's frames arrive with the pseudo-header sum in place of the TCP checksum.
set -euo pipefail
. "$(dirname "$0")/prelude.sh"

rig=${RIG:-shunt}
queues=${RIG_QUEUES:-1}
server=$rig-a
client=$rig-b

exists() { ip netns list | grep -q "^$1\( \|\$\)"; }

up() {
    need_root
    [[ $rig =~ ^[A-Za-z0-9_.-]{1,32}$ ]] || die "RIG='$rig' is not a usable prefix: letters, digits, '-', '_', '.'"
    [[ $queues =~ ^[1-9][0-9]*$ ]] || die "RIG_QUEUES='$queues' is not a number of queues"
    local namespace
    for namespace in "$server" "$client"; do
        ! exists "$namespace" || die "namespace $namespace is there already: RIG=$rig $0 down, or choose another prefix by RIG="
    done
    # From here on a failure must not leave half a rig.
    at_end '[ "$raised" = yes ] || down'
    raised=no
    ip netns add "$server"
    ip netns add "$client"
    ip link add veth0 netns "$server" numrxqueues "$queues" numtxqueues "$queues" \
        type veth peer name veth0 netns "$client" numrxqueues "$queues" numtxqueues "$queues"
    if [ "$queues" -gt 1 ]; then
        for namespace in "$server" "$client"; do
            ip netns exec "$namespace" ethtool -L veth0 rx "$queues" tx "$queues"
        done
    fi
    ip -n "$server" addr add 10.99.0.1/24 dev veth0
    ip -n "$client" addr add 10.99.0.2/24 dev veth0
    for namespace in "$server" "$client"; do
        ip -n "$namespace" link set lo up
        ip -n "$namespace" link set veth0 up
    done
    wait_for_carrier
    raised=yes
}

# The first packet after "up" is lost while the link settles; the IPv6 addresses' detection would add noise to counters.
wait_for_carrier() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        [ "$(ip -n "$server" -o link show veth0 up | grep -c LOWER_UP)" = 1 ] && return
        sleep 0.02
    done
    die "veth0 in $server does not come up"
}

# Ends everything that runs inside the two namespaces, by process id, then removes them; the devices go with them.
down() {
    need_root
    local namespace pids
    for namespace in "$server" "$client"; do
        exists "$namespace" || continue
        pids=$(ip netns pids "$namespace" 2>/dev/null || true)
        [ -z "$pids" ] || end $pids
        ip -n "$namespace" link del veth0 2>/dev/null || true
        ip netns del "$namespace" || true
    done
}

enter() {
    need_root
    local side=${1:-}
    case $side in a | b) shift ;; *) die "which side: exec a CMD (server) or exec b CMD (client)" ;; esac
    exists "$rig-$side" || die "no rig '$rig': scripts/rig.sh up first"
    [ $# -gt 0 ] || set -- "${SHELL:-/bin/bash}"
    trap - EXIT
    exec ip netns exec "$rig-$side" "$@"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
up) up ;;
down) down ;;
exec | sh) enter "$@" ;;
*) die "usage: $0 up | down | exec a|b CMD...   (RIG=prefix, RIG_QUEUES=n)" ;;
esac
