#!/bin/bash
# Installs what building, testing and measuring need on a fresh Debian 12. Quick and silent when nothing is missing.
#
# Rust is not taken from Debian (its compiler is too old): a cargo of the version in Cargo.toml must be there.
set -euo pipefail
. "$(dirname "$0")/prelude.sh"

packages=(
    build-essential pkg-config ca-certificates
    clang llvm                                         # rebuilds the BPF object, to compare it with the one checked in
    libbpf-dev libxdp-dev libelf-dev zlib1g-dev linux-libc-dev # the floor program of the benchmark
    iproute2 ethtool iputils-ping procps util-linux    # the rig
    valgrind                                           # counts instructions
    curl nginx-light redis-server redis-tools wrk iperf3 sockperf python3 # the real programs
)
# Services that Debian would start, now or at the next boot, on this machine's own network.
services=(nginx redis-server iperf3)

policy=/usr/sbin/policy-rc.d
policy_mark='# shunt setup: no service starts while packages are being installed'

main() {
    [ -r /etc/debian_version ] && command -v apt-get >/dev/null ||
        die "this is not Debian or one of its kin (no apt-get): install by hand what the list in $0 names"
    remove_policy # one that a killed run left behind
    local missing
    missing=$(missing_packages)
    [ -z "$missing" ] || install $missing
    check_rust
}

# nginx stands for any of its flavours: whoever has a fuller one keeps it.
missing_packages() {
    local package
    for package in "${packages[@]}"; do
        [ "$package" = nginx-light ] && [ -x /usr/sbin/nginx ] && continue
        installed "$package" || printf '%s ' "$package"
    done
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install() {
    need_root
    say "installing: $*"
    local service absent=()
    for service in "${services[@]}"; do [ -e "/lib/systemd/system/$service.service" ] || absent+=("$service"); done
    forbid_service_starts
    export DEBIAN_FRONTEND=noninteractive
    local log
    log=$(mktemp)
    at_end "rm -f '$log'"
    # Lists that are there may still be good: refresh them only when they do not do.
    apt-get install -y --no-install-recommends "$@" >"$log" 2>&1 ||
        { apt-get update >"$log" 2>&1 && apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1; } ||
        { tail -n 20 "$log" >&2; die "apt-get could not install these packages (its last lines are above)"; }
    for service in ${absent[@]+"${absent[@]}"}; do
        if command -v systemctl >/dev/null; then systemctl disable "$service" >/dev/null 2>&1 || true; fi
    done
    remove_policy
}

# invoke-rc.d asks this program before it starts a service; 101 means no. One that the administrator wrote is left as it is.
forbid_service_starts() {
    [ ! -e "$policy" ] || return 0
    at_end remove_policy
    printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" >"$policy"
    chmod 755 "$policy"
}

remove_policy() {
    if [ -f "$policy" ] && grep -qxF "$policy_mark" "$policy"; then rm -f "$policy"; fi
}

check_rust() {
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root_dir/Cargo.toml")
    command -v cargo >/dev/null || die "no cargo: install Rust $wanted or later, e.g. by
  curl -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c rustfmt,clippy
and run this again"
    have=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n1)" = "$wanted" ] ||
        die "Rust $have is too old, $wanted or later is needed: rustup update stable"
    cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1 ||
        die "clippy or rustfmt is missing: rustup component add clippy rustfmt"
}

main
