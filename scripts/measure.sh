# Sourced by bench.sh and demo.sh: a server in one namespace, a client in the other, each on the kernel or on shunt.
#
# A variant is who runs on shunt: kernel (nobody), server, client, both. Each has a rig of its own, so that the kernel is
# measured with all its offloads and no XDP program beside it, and the variants can take turns without set-up between.

bench_bin=$build_dir/bench
run_id=$$
device=veth0
server_address=10.99.0.1

rig_of() { printf 'shunt-%s-%s' "$1" "$run_id"; }

raise_rig() {
    at_end "RIG=$(rig_of "$1") '$root_dir/scripts/rig.sh' down"
    RIG=$(rig_of "$1") "$root_dir/scripts/rig.sh" up
}

# place VARIANT SIDE(a|b) PROFILE: sets `placed` to the words that go before a command there.
place() {
    placed=(ip netns exec "$(rig_of "$1")-$2")
    case $1$2 in
    servera | clientb | botha | bothb) placed+=("$shunt" run --dev "$device" --profile "$3" --) ;;
    esac
}

# serve VARIANT PROFILE PORT CPU COMMAND...: starts a server and waits for its port; its process id is in `serving`.
serve() {
    local variant=$1 profile=$2 port=$3 cpu=$4
    shift 4
    place "$variant" a "$profile"
    taskset -c "$cpu" "${placed[@]}" "$@" >"$scratch/server.log" 2>&1 </dev/null &
    serving=$!
    await_port "$variant" "$port" || { say "no server for $variant: $*"; tail -n 5 "$scratch/server.log" >&2; return 1; }
}

await_port() {
    local tries wanted
    wanted=$(printf ':%04X 0*:0000 0A' "$2")
    for ((tries = 0; tries < 200; tries++)); do
        # The kernel's listener is there a moment before the region's.
        ip netns exec "$(rig_of "$1")-a" grep -q "$wanted" /proc/net/tcp /proc/net/tcp6 && { sleep 0.05; return 0; }
        kill -0 "$serving" 2>/dev/null || return 1
        sleep 0.02
    done
    return 1
}

stop_serving() {
    [ -z "${serving:-}" ] || end "$serving"
    [ -z "${serving:-}" ] || wait "$serving" 2>/dev/null || true
    serving=
}

# ask VARIANT PROFILE CPU COMMAND...: runs a client to its end; what it prints is in $scratch/client.log.
ask() {
    local variant=$1 profile=$2 cpu=$3
    shift 3
    place "$variant" b "$profile"
    timeout --foreground 40 taskset -c "$cpu" "${placed[@]}" "$@" >"$scratch/client.log" 2>"$scratch/client.err" </dev/null && return
    say "client failed for $variant: $*"
    tail -n 5 "$scratch/client.err" "$scratch/client.log" >&2
    return 1
}

# pingpong VARIANT PROFILE SERVER_CPU CLIENT_CPU SECONDS KERNEL_OPTION [options]: the result stands in $scratch/client.log.
# KERNEL_OPTION ('' for none) is for those ends alone that run on the kernel.
pingpong() {
    local variant=$1 profile=$2 server_cpu=$3 client_cpu=$4 seconds=$5 kernel_option=$6 status=0 server=() client=()
    shift 6
    if [ -n "$kernel_option" ]; then
        case $variant in kernel | client) server=("$kernel_option") ;; esac
        case $variant in kernel | server) client=("$kernel_option") ;; esac
    fi
    serve "$variant" "$profile" 7007 "$server_cpu" "$bench_bin/pingpong" server ${server[@]+"${server[@]}"} "$@" &&
        ask "$variant" "$profile" "$client_cpu" "$bench_bin/pingpong" client "$server_address" --seconds "$seconds" \
            ${client[@]+"${client[@]}"} "$@" || status=1
    stop_serving
    return $status
}

# said NAME: the value that follows NAME in a client's `name value` lines.
said() { awk -v name="$1" '$1 == name { print $2; exit }' "$scratch/client.log"; }

# nginx_configuration WORKERS: a file for nginx in the foreground, serving $scratch on port 8080.
nginx_configuration() {
    printf '%s\n' "daemon off; worker_processes $1; pid $scratch/nginx.pid; error_log $scratch/nginx.log warn;" \
        'events { worker_connections 1024; }' \
        "http { access_log off; sendfile on; keepalive_requests 100000000;" \
        "  client_body_temp_path $scratch/body; proxy_temp_path $scratch/proxy; fastcgi_temp_path $scratch/fastcgi;" \
        "  uwsgi_temp_path $scratch/uwsgi; scgi_temp_path $scratch/scgi;" \
        "  server { listen 8080; root $scratch; } }" >"$scratch/nginx.conf"
}

# A directory that servers with dropped privileges can read.
make_scratch() {
    scratch=$(mktemp -d)
    chmod 755 "$scratch"
    at_end "rm -rf '$scratch'"
    at_end stop_serving
}
