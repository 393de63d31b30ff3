// Which packets the stack gets. Everything passes to the kernel, except TCP over IPv4 whose destination is ours, and
// ICMP errors about such a flow. Only the keeper writes the tables.
//
// What is checked in as steer.o depends on this file, on xdp.h and on clang alone (see scripts/bpf.sh).

#include "xdp.h"

struct ports {
    u16 source, destination;
};

struct icmp {
    u8 type, code;
    u16 checksum;
    u32 rest;
};

enum { FRAGMENT_BITS = 0x3fff };
enum { UNREACHABLE = 3, TIME_EXCEEDED = 11, BAD_PARAMETER = 12 };

// The XSK of each RX queue.
struct {
    __uint(type, MAP_XSK);
    __uint(max_entries, 256);
    __type(key, u32);
    __type(value, u32);
} sockets SEC(".maps");

// What a local port is to us, by its number in host order: a set of the bits below.
enum {
    PORT_WILDCARD = 1, // a listener on every local address
    PORT_EXACT = 2,    // listeners on single addresses: see `listeners`
    PORT_LEASED = 4,   // outgoing connections
};
struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 65536);
    __type(key, u32);
    __type(value, u32);
} ports SEC(".maps");

// Listeners on one address. Both fields as they stand in the packet.
struct endpoint {
    u32 address;
    u16 port, zero;
};
struct {
    __uint(type, MAP_HASH);
    __uint(max_entries, 4096);
    __type(key, struct endpoint);
    __type(value, u32);
} listeners SEC(".maps");

// The host's own addresses: a packet on its way through a router is none of ours.
struct {
    __uint(type, MAP_HASH);
    __uint(max_entries, 1024);
    __type(key, u32);
    __type(value, u32);
} local_addresses SEC(".maps");

// 0: TCP segments redirected, 1: ICMP errors redirected.
struct {
    __uint(type, MAP_PERCPU_ARRAY);
    __uint(max_entries, 2);
    __type(key, u32);
    __type(value, u64);
} redirected SEC(".maps");

static __attribute__((always_inline)) int is_ours(u32 address, u16 port)
{
    u32 number = big16(port);
    u32 *use = map_lookup(&ports, &number);
    if (!use || !*use)
        return 0;
    if (*use & (PORT_WILDCARD | PORT_LEASED) && map_lookup(&local_addresses, &address))
        return 1;
    if (*use & PORT_EXACT) {
        struct endpoint endpoint = {address, port, 0};
        return map_lookup(&listeners, &endpoint) != 0;
    }
    return 0;
}

static __attribute__((always_inline)) int redirect(struct xdp_md *packet, u32 counter)
{
    // The packet passes when no socket is on its queue.
    long verdict = redirect_map(&sockets, packet->rx_queue_index, XDP_PASS);
    if (verdict != XDP_PASS) {
        u64 *count = map_lookup(&redirected, &counter);
        if (count)
            ++*count;
    }
    return verdict;
}

SEC("xdp")
int steer(struct xdp_md *packet)
{
    void *end = (void *)(u64)packet->data_end;
    struct ethernet *ethernet = (void *)(u64)packet->data;
    struct ipv4 *ip = (void *)(ethernet + 1);
    if ((void *)(ip + 1) > end || ethernet->type != big16(IPV4))
        return XDP_PASS;
    u32 header = (ip->version_and_words & 15) * 4;
    if (ip->version_and_words >> 4 != 4 || header < sizeof(*ip) || ip->fragment & big16(FRAGMENT_BITS))
        return XDP_PASS;
    void *payload = (void *)ip + header;

    if (ip->protocol == TCP) {
        struct ports *tcp = payload;
        if ((void *)(tcp + 1) > end || !is_ours(ip->destination, tcp->destination))
            return XDP_PASS;
        return redirect(packet, 0);
    }
    if (ip->protocol == ICMP) {
        struct icmp *icmp = payload;
        struct ipv4 *quoted = (void *)(icmp + 1);
        if ((void *)(quoted + 1) > end)
            return XDP_PASS;
        if (icmp->type != UNREACHABLE && icmp->type != TIME_EXCEEDED && icmp->type != BAD_PARAMETER)
            return XDP_PASS;
        u32 quoted_header = (quoted->version_and_words & 15) * 4;
        if (quoted->protocol != TCP || quoted_header < sizeof(*quoted))
            return XDP_PASS;
        // The quoted segment is one that we sent: its source is our end.
        struct ports *tcp = (void *)quoted + quoted_header;
        if ((void *)(tcp + 1) > end || !is_ours(quoted->source, tcp->source))
            return XDP_PASS;
        return redirect(packet, 1);
    }
    return XDP_PASS;
}

// No GPL-only helper is used.
SEC("license") const char _license[] = "MIT";
