// A bad wire, by seed: attached to both devices of the namespace between the two ends (tests/src/impair), one instance
// for each direction. What it decides about packet number n of its direction depends on the seed and on n alone, so the same seed
// does the same to whichever stack is at the ends.
//
// It drops and corrupts by itself. XDP can neither hold a packet nor copy one: which packet comes late and which comes
// twice is written in front of the packet, and the relay that takes it off the AF_XDP socket does it.
//
// Packets are TCP over IPv4: anything else (ARP) passes unharmed and is not numbered.

#include "../../keeper/bpf/xdp.h"

static long (*const adjust_meta)(void *packet, int delta) = (void *)54;

// The AF_XDP socket of the relay on this device.
struct {
    __uint(type, MAP_XSK);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, u32);
} sockets SEC(".maps");

// What is to happen; chances are of 2^32. The same order as tests/src/impair/program.rs has it.
struct plan {
    u64 seed;
    u32 drop, corrupt, duplicate, reorder;
};
struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct plan);
} plans SEC(".maps");

// What has happened. The device has one queue, so nothing counts here at the same time.
struct tally {
    u64 seen, dropped, corrupted, duplicated, reordered;
};
struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct tally);
} tallies SEC(".maps");

// What stands in front of a packet for the relay: a set of these.
enum { TWICE = 1, LATE = 2 };

// The finaliser of splitmix64: each bit of the result depends on each of the argument.
static __attribute__((always_inline)) u64 mixed(u64 word)
{
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9ull;
    word = (word ^ word >> 27) * 0x94d049bb133111ebull;
    return word ^ word >> 31;
}

// The decisions are drawn apart, so that raising one chance does not shift the others.
enum purpose { DROP = 1, CORRUPT, CORRUPT_WHERE, DUPLICATE, REORDER };

static __attribute__((always_inline)) u64 drawn(const struct plan *plan, u64 number, enum purpose purpose)
{
    return mixed(plan->seed + mixed(number * 8 + purpose));
}

static __attribute__((always_inline)) int happens(u32 chance, const struct plan *plan, u64 number, enum purpose purpose)
{
    return (u32)drawn(plan, number, purpose) < chance;
}

// Flips bits of one byte behind the Ethernet header. A sum of 16-bit words tells any change of a single byte.
static __attribute__((always_inline)) int corrupt(struct xdp_md *packet, u64 where)
{
    u8 *start = (void *)(u64)packet->data + sizeof(struct ethernet);
    u8 *end = (void *)(u64)packet->data_end;
    if (start + 40 > end)
        return 0;
    u32 length = packet->data_end - packet->data - sizeof(struct ethernet);
    u32 at = (u32)where % length & 2047;
    u8 *byte = start + at;
    if (byte + 1 > end)
        return 0;
    *byte ^= (u8)(where >> 32) | 1;
    return 1;
}

static __attribute__((always_inline)) int is_tcp(struct xdp_md *packet)
{
    void *end = (void *)(u64)packet->data_end;
    struct ethernet *ethernet = (void *)(u64)packet->data;
    struct ipv4 *ip = (void *)(ethernet + 1);
    return (void *)(ip + 1) <= end && ethernet->type == big16(IPV4) && ip->protocol == TCP;
}

SEC("xdp")
int impair(struct xdp_md *packet)
{
    u32 zero = 0;
    u32 marks = 0;
    struct plan *plan = map_lookup(&plans, &zero);
    struct tally *tally = map_lookup(&tallies, &zero);
    if (!plan || !tally)
        return XDP_ABORTED;

    if (is_tcp(packet)) {
        u64 number = tally->seen++;
        if (happens(plan->drop, plan, number, DROP)) {
            tally->dropped++;
            return XDP_DROP;
        }
        if (happens(plan->corrupt, plan, number, CORRUPT) && corrupt(packet, drawn(plan, number, CORRUPT_WHERE)))
            tally->corrupted++;
        if (happens(plan->duplicate, plan, number, DUPLICATE)) {
            tally->duplicated++;
            marks |= TWICE;
        }
        if (happens(plan->reorder, plan, number, REORDER)) {
            tally->reordered++;
            marks |= LATE;
        }
    }

    if (adjust_meta(packet, -(int)sizeof(u32)))
        return XDP_ABORTED;
    u32 *meta = (void *)(u64)packet->data_meta;
    if ((void *)(meta + 1) > (void *)(u64)packet->data)
        return XDP_ABORTED;
    *meta = marks;
    return redirect_map(&sockets, packet->rx_queue_index, XDP_ABORTED);
}

// No GPL-only helper is used.
SEC("license") const char _license[] = "MIT";
