// What every XDP program here begins with: types, how a loader finds the maps, and the headers that packets begin with.
//
// It stands for the kernel's own headers, so that an object depends on its sources and on clang alone (see scripts/bpf.sh).

#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define big16(value) ((u16)(((value) & 0xff) << 8 | (value) >> 8))

enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6, MAP_XSK = 17 };
enum { XDP_ABORTED = 0, XDP_DROP = 1, XDP_PASS = 2 };

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const redirect_map)(void *map, u64 key, u64 if_missing) = (void *)51;

struct xdp_md {
    u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

struct ethernet {
    u8 destination[6], source[6];
    u16 type;
};

struct ipv4 {
    u8 version_and_words, tos;
    u16 length, id, fragment;
    u8 ttl, protocol;
    u16 checksum;
    u32 source, destination;
};

enum { IPV4 = 0x0800, TCP = 6, ICMP = 1 };
