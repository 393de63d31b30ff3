#!/bin/bash
# The rig: two network namespaces joined by a veth pair, for tests that must not touch the machine's own network.
# With RIG_MIDDLE=yes a third lies between them, where a bad wire can be (tests/src/impair).
#
#   scripts/rig.sh up            raises ${RIG}-a (server, 10.99.0.1/24) and ${RIG}-b (client, 10.99.0.2/24)
#   scripts/rig.sh exec a CMD    runs CMD in one of them (`sh a` opens a shell); `exec m` is the middle
#   scripts/rig.sh down          ends what runs inside and removes both; succeeds when there is nothing
#
# RIG         prefix of the namespaces, default shunt: another prefix is another rig, side by side
# RIG_QUEUES  RX and TX queues of each device, default 1
# RIG_MIDDLE  yes: ${RIG}-m lies between the two, with the devices `to-a` and `to-b` towards them, and nothing in it forwards
#
# The device is called veth0 on both sides, with MTU 1500 and the offloads that the kernel gives it. Nothing needs to be
# switched off for AF_XDP: when an XDP program is attached to one end, veth takes TSO and UDP GSO away from the *other*
# end, so that a kernel peer sends frames no longer than the MTU, and gives it back on detach. What stays is
# CHECKSUM_PARTIAL: a kernel peer's frames arrive with the pseudo-header sum in place of the TCP checksum.
#
# With a middle, all ends are made alike: offloads off, so that every frame fits the MTU and carries its true checksum, which
# damage on the way then makes wrong; a queue before each device, because veth drops what its ring of 256 cannot take from a device
# without one; nothing remembered of earlier connections; and no BBR by default, because a socket that began with it goes on
# pacing, whatever it is told to use later.
set -euo pipefail
. "$(dirname "$0")/prelude.sh"

rig=${RIG:-shunt}
queues=${RIG_QUEUES:-1}
server=$rig-a
client=$rig-b
middle=$rig-m
namespaces=("$server" "$client")
[ "${RIG_MIDDLE:-no}" != yes ] || namespaces+=("$middle")

exists() { ip netns list | grep -q "^$1\( \|\$\)"; }

up() {
    need_root
    [[ $rig =~ ^[A-Za-z0-9_.-]{1,32}$ ]] || die "RIG='$rig' is not a usable prefix: letters, digits, '-', '_', '.'"
    [[ $queues =~ ^[1-9][0-9]*$ ]] || die "RIG_QUEUES='$queues' is not a number of queues"
    local namespace
    for namespace in "${namespaces[@]}"; do
        ! exists "$namespace" || die "namespace $namespace is there already: RIG=$rig $0 down, or choose another prefix by RIG="
    done
    # From here on a failure must not leave half a rig.
    at_end '[ "$raised" = yes ] || down'
    raised=no
    for namespace in "${namespaces[@]}"; do ip netns add "$namespace"; done
    if [ "${RIG_MIDDLE:-no}" = yes ]; then
        join "$server" veth0 "$middle" to-a
        join "$client" veth0 "$middle" to-b
    else
        join "$server" veth0 "$client" veth0
    fi
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
    [ "${RIG_MIDDLE:-no}" != yes ] || prepare_wire
    wait_for_carrier
    raised=yes
}

join() { # NAMESPACE DEVICE NAMESPACE DEVICE
    ip link add "$2" netns "$1" numrxqueues "$queues" numtxqueues "$queues" \
        type veth peer name "$4" netns "$3" numrxqueues "$queues" numtxqueues "$queues"
}

prepare_wire() {
    local side
    for side in a b; do
        plain_device "$middle" to-$side
        plain_device "$rig-$side" veth0
        ip netns exec "$rig-$side" sysctl -qw net.ipv4.tcp_no_metrics_save=1 \
            net.ipv4.tcp_congestion_control=reno
    done
    introduce "$server" 10.99.0.2 "$client"
    introduce "$client" 10.99.0.1 "$server"
}

# So that no ARP request is lost or late.
introduce() { # NAMESPACE ADDRESS NAMESPACE_OF_THE_ADDRESS
    ip -n "$1" neigh replace "$2" dev veth0 nud permanent lladdr "$(ip netns exec "$3" cat /sys/class/net/veth0/address)"
}

plain_device() { # NAMESPACE DEVICE
    ip netns exec "$1" sysctl -qw "net.ipv6.conf.$2.disable_ipv6=1" 2>/dev/null || true
    ip netns exec "$1" ethtool -K "$2" tx off tso off gso off gro off >/dev/null
    ip netns exec "$1" tc qdisc replace dev "$2" root pfifo limit 10000
    ip -n "$1" link set "$2" up
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

# Ends everything that runs inside the namespaces, by process id, then removes them; the devices go with them.
down() {
    need_root
    local namespace pids
    for namespace in "$server" "$client" "$middle"; do
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
    case $side in a | b | m) shift ;; *) die "which side: exec a CMD (server), b CMD (client) or m CMD (middle)" ;; esac
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
*) die "usage: $0 up | down | exec a|b CMD...   (RIG=prefix, RIG_QUEUES=n, RIG_MIDDLE=yes)" ;;
esac
