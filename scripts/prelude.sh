# Sourced by every script here: where the tree is, how to speak, what to check first.

root_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=$root_dir/build
release_dir=$root_dir/target/release
shunt=$release_dir/shunt

# sudo and cron drop ~/.cargo/bin from PATH; rustup puts cargo nowhere else.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# A line that tells how far long work has come, with the seconds since the script began.
progress() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }

need_root() {
    [ "$(id -u)" = 0 ] || die "network namespaces and XDP need root: run it as root (sudo $0)"
}

# Undo steps, run last to first when the script ends in whatever way. A step that fails does not stop the others.
undo_steps=()
at_end() { undo_steps+=("$*"); }
run_undo_steps() {
    local status=$? i
    trap '' INT TERM HUP
    for ((i = ${#undo_steps[@]} - 1; i >= 0; i--)); do eval "${undo_steps[i]}" || true; done
    undo_steps=()
    exit "$status"
}
trap run_undo_steps EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# await_ready LOG PID SECONDS: until the process has written `ready` to its log; fails when it ends or the time does.
await_ready() {
    local tries
    for ((tries = 0; tries < $3 * 20; tries++)); do
        ! grep -qs ready "$1" || return 0
        kill -0 "$2" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

# end PID...: asks each to end, waits up to two seconds, then insists.
end() {
    local pid tries
    for pid in "$@"; do kill "$pid" 2>/dev/null || true; done
    for pid in "$@"; do
        for ((tries = 0; tries < 40; tries++)); do
            # A zombie answers signal 0 until its parent collects it: it has ended all the same.
            case $(ps -o stat= -p "$pid" 2>/dev/null) in '' | Z*) break ;; esac
            sleep 0.05
        done
        kill -9 "$pid" 2>/dev/null || true
    done
}
