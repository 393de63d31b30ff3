/*
 * The floor: what a raw AF_XDP echo costs, with nothing above it. It is written against libxdp and shares no line with
 * the stack's own rings, so that it also tells how much of a round trip is the stack's.
 *
 *   floor echo DEV [--sleep] [--seconds S]            sends every UDP datagram for port 7007 back
 *   floor ping DEV MAC [--sleep] [--seconds S]        64-byte payload to MAC and back, prints p50, p99 and the rate
 *
 * It spins on its RX ring, or with --sleep waits in poll(). Only datagrams for port 7007 are taken from the device, the
 * rest stays with the kernel, so a kernel UDP socket can be the other end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <getopt.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/xsk.h>

#include "samples.h"

enum { PORT = 7007, PAYLOAD = 64, FRAMES = 1024, FRAME_SIZE = 2048, RING = 1024, QUEUE = 0 };
/* The first half of the frames receives for good; the one after them is what ping sends. */
enum { RECEIVE_FRAMES = FRAMES / 2, PING_FRAME = RECEIVE_FRAMES * FRAME_SIZE };
#define LOST_AFTER_NS 100000000ull

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	unsigned char payload[PAYLOAD];
} __attribute__((packed));

static struct {
	const char *device;
	int asleep;
	unsigned char *memory;
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons completion, rx;
} link_;

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

static void give_up(const char *what, int error)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

/*
 * "IPv4, UDP, no options, to port 7007: redirect to the XSK of this queue, else pass", in BPF instructions: ten lines
 * here spare the benchmark both clang and the object files that libxdp's default program wants installed.
 */
static int attach(int ifindex, int xsk_map)
{
#define INSN(c, d, s, o, i) ((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
	struct bpf_insn program[] = {
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0), /* r6 = ctx */
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 6, offsetof(struct xdp_md, data), 0),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 6, offsetof(struct xdp_md, data_end), 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 42),
		INSN(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 11, 0), /* shorter than the headers: pass */
		INSN(BPF_LDX | BPF_MEM | BPF_H, 5, 2, 12, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 9, htons(ETH_P_IP)),
		INSN(BPF_LDX | BPF_MEM | BPF_B, 5, 2, 23, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 7, IPPROTO_UDP),
		INSN(BPF_LDX | BPF_MEM | BPF_H, 5, 2, 36, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 5, htons(PORT)),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 6, offsetof(struct xdp_md, rx_queue_index), 0),
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, xsk_map),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, XDP_PASS),
		INSN(BPF_JMP | BPF_JA, 0, 0, 2, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
#undef INSN
	static char complaint[16384];
	LIBBPF_OPTS(bpf_prog_load_opts, options, .log_buf = complaint, .log_size = sizeof complaint, .log_level = 1);
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "floor", "GPL", program, sizeof program / sizeof *program, &options);
	if (fd < 0) {
		fputs(complaint, stderr);
		give_up("loading the XDP program (root?)", errno);
	}
	/* A link, not an attachment: it is gone with this process, however that ends. */
	int xdp_link = bpf_link_create(fd, ifindex, BPF_XDP, NULL);
	if (xdp_link < 0)
		give_up("attaching to the device (another XDP program there?)", errno);
	return xdp_link;
}

static void open_link(void)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	setrlimit(RLIMIT_MEMLOCK, &unlimited);

	int ifindex = (int)if_nametoindex(link_.device);
	if (!ifindex)
		give_up(link_.device, errno);
	link_.memory = mmap(NULL, FRAMES * FRAME_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (link_.memory == MAP_FAILED)
		give_up("memory for frames", errno);

	struct xsk_umem_config frames = { .fill_size = RING, .comp_size = RING, .frame_size = FRAME_SIZE };
	int error = xsk_umem__create(&link_.umem, link_.memory, FRAMES * FRAME_SIZE, &link_.fill, &link_.completion, &frames);
	if (error)
		give_up("registering the frames", error);

	int map = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "floor", sizeof(int), sizeof(int), 64, NULL);
	if (map < 0)
		give_up("creating the XSK map", errno);
	attach(ifindex, map);

	struct xsk_socket_config socket_config = { .rx_size = RING, .tx_size = RING, .bind_flags = XDP_USE_NEED_WAKEUP,
						   .libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD };
	error = xsk_socket__create(&link_.socket, link_.device, QUEUE, link_.umem, &link_.rx, &link_.tx, &socket_config);
	if (error)
		give_up("opening the AF_XDP socket", error);
	error = xsk_socket__update_xskmap(link_.socket, map);
	if (error)
		give_up("entering the socket into the map", error);

	/*
	 * Fewer frames than the ring has room for: the kernel publishes a received frame before it publishes that it has
	 * taken it off the fill ring, so a full set given back at once would find no room.
	 */
	uint32_t at;
	if (xsk_ring_prod__reserve(&link_.fill, RECEIVE_FRAMES, &at) != RECEIVE_FRAMES)
		give_up("filling the fill ring", ENOSPC);
	for (uint32_t i = 0; i < RECEIVE_FRAMES; i++)
		*xsk_ring_prod__fill_addr(&link_.fill, at + i) = (uint64_t)i * FRAME_SIZE;
	xsk_ring_prod__submit(&link_.fill, RECEIVE_FRAMES);
}

static void kick(void)
{
	if (sendto(xsk_socket__fd(link_.socket), NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN && errno != EBUSY &&
	    errno != ENOBUFS)
		give_up("sending", errno);
}

static void transmit(uint64_t address, uint32_t length)
{
	uint32_t at;
	if (xsk_ring_prod__reserve(&link_.tx, 1, &at) != 1)
		give_up("the TX ring is full", ENOSPC);
	*xsk_ring_prod__tx_desc(&link_.tx, at) = (struct xdp_desc){ .addr = address, .len = length };
	xsk_ring_prod__submit(&link_.tx, 1);
	kick();
}

static void give_back(uint64_t address)
{
	uint32_t at;
	if (xsk_ring_prod__reserve(&link_.fill, 1, &at) != 1)
		give_up("the fill ring is full", ENOSPC);
	*xsk_ring_prod__fill_addr(&link_.fill, at) = address & ~(uint64_t)(FRAME_SIZE - 1);
	xsk_ring_prod__submit(&link_.fill, 1);
}

/* What has been sent; for an echo that is a receive frame, which goes back to the fill ring. */
static void complete(int refill)
{
	uint32_t at, done = xsk_ring_cons__peek(&link_.completion, RING, &at);
	for (uint32_t i = 0; i < done && refill; i++)
		give_back(*xsk_ring_cons__comp_addr(&link_.completion, at + i));
	if (done)
		xsk_ring_cons__release(&link_.completion, done);
}

/* The next received frame, or NULL: at once when spinning, after at most `wait_ms` when asleep. */
static struct frame *receive(struct xdp_desc *descriptor, int wait_ms)
{
	uint32_t at;
	if (xsk_ring_cons__peek(&link_.rx, 1, &at) == 0) {
		if (!link_.asleep)
			return NULL;
		struct pollfd wait = { .fd = xsk_socket__fd(link_.socket), .events = POLLIN };
		if (poll(&wait, 1, wait_ms) <= 0 || xsk_ring_cons__peek(&link_.rx, 1, &at) == 0)
			return NULL;
	}
	*descriptor = *xsk_ring_cons__rx_desc(&link_.rx, at);
	xsk_ring_cons__release(&link_.rx, 1);
	return xsk_umem__get_data(link_.memory, descriptor->addr);
}

static void turn_around(struct frame *frame)
{
	unsigned char mac[ETH_ALEN];
	memcpy(mac, frame->eth.h_dest, ETH_ALEN);
	memcpy(frame->eth.h_dest, frame->eth.h_source, ETH_ALEN);
	memcpy(frame->eth.h_source, mac, ETH_ALEN);
	uint32_t address = frame->ip.saddr;
	frame->ip.saddr = frame->ip.daddr;
	frame->ip.daddr = address;
	uint16_t port = frame->udp.source;
	frame->udp.source = frame->udp.dest;
	frame->udp.dest = port;
	/* A kernel sender on a veth left only the pseudo-header sum there; none at all is valid for IPv4. */
	frame->udp.check = 0;
}

static void echo(uint64_t until)
{
	struct xdp_desc descriptor;
	puts("ready");
	fflush(stdout);
	while (!stop && now_ns() < until) {
		struct frame *frame = receive(&descriptor, 200);
		if (!frame)
			continue;
		if (descriptor.len < sizeof *frame - PAYLOAD) {
			give_back(descriptor.addr);
			continue;
		}
		turn_around(frame);
		transmit(descriptor.addr, descriptor.len);
		complete(1);
	}
}

static struct frame *build_ping(const char *peer_mac)
{
	struct frame *frame = (struct frame *)(link_.memory + PING_FRAME);
	memset(frame, 0, sizeof *frame);
	unsigned char *to = frame->eth.h_dest, *from = frame->eth.h_source;
	if (sscanf(peer_mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", to, to + 1, to + 2, to + 3, to + 4, to + 5) != 6)
		give_up("the peer's MAC address", EINVAL);
	from[0] = 2; /* locally administered: only has to differ from the peer's */
	frame->eth.h_proto = htons(ETH_P_IP);
	frame->ip = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
				    .tot_len = htons(sizeof *frame - sizeof frame->eth),
				    .saddr = inet_addr("10.99.0.2"), .daddr = inet_addr("10.99.0.1") };
	/* Both ports the same, so that the peer's program takes the ping and ours the answer. */
	frame->udp = (struct udphdr){ .source = htons(PORT), .dest = htons(PORT),
				      .len = htons(sizeof frame->udp + PAYLOAD) };
	return frame;
}

static int ping(const char *peer_mac, uint64_t until)
{
	struct samples samples;
	struct frame *request = build_ping(peer_mac);
	uint64_t lost = 0, number = 0, now = now_ns();

	if (samples_start(&samples, 4000000))
		give_up("memory for samples", ENOMEM);
	while (!stop && now < until) {
		uint64_t sent = now_ns();
		number++;
		memcpy(request->payload, &number, sizeof number);
		transmit(PING_FRAME, sizeof *request);
		for (int answered = 0; !answered;) {
			struct xdp_desc descriptor;
			struct frame *reply = receive(&descriptor, 100);
			now = now_ns();
			if (reply) {
				answered = descriptor.len == sizeof *reply &&
					   memcmp(reply->payload, &number, sizeof number) == 0;
				give_back(descriptor.addr);
				if (answered)
					samples_add(&samples, sent, now);
			} else if (stop || now - sent > LOST_AFTER_NS) {
				lost++;
				break;
			}
		}
		complete(0);
	}
	if (samples_print(&samples))
		return fprintf(stderr, "floor: no answer from %s\n", peer_mac), 1;
	printf("lost %llu\n", (unsigned long long)lost);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "sleep", no_argument, NULL, 's' },
						 { "seconds", required_argument, NULL, 't' },
						 { NULL, 0, NULL, 0 } };
	uint64_t seconds = 0;
	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (option == 's')
			link_.asleep = 1;
		else if (option == 't')
			seconds = strtoull(optarg, NULL, 10);
		else
			return 2;
	}
	int is_echo = argc - optind == 2 && !strcmp(argv[optind], "echo");
	int is_ping = argc - optind == 3 && !strcmp(argv[optind], "ping");
	if (!is_echo && !is_ping)
		return fprintf(stderr, "usage: floor echo DEV | ping DEV MAC [--sleep] [--seconds S]\n"), 2;

	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	link_.device = argv[optind + 1];
	open_link();
	uint64_t until = now_ns() + (seconds ? seconds : is_echo ? 3600 : 2) * 1000000000ull;
	int status = 0;
	if (is_echo)
		echo(until);
	else
		status = ping(argv[optind + 2], until);
	xsk_socket__delete(link_.socket);
	xsk_umem__delete(link_.umem);
	return status;
}
