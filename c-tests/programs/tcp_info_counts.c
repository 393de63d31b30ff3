// TCP_INFO counts what was moved, the same at both ends and on every stack.
#include "t.h"

// The C library's structure ends where that of old kernels did.
struct long_info {
    struct tcp_info first;
    uint64_t tcpi_pacing_rate, tcpi_max_pacing_rate, tcpi_bytes_acked, tcpi_bytes_received;
    uint32_t tcpi_segs_out, tcpi_segs_in, tcpi_notsent_bytes, tcpi_min_rtt, tcpi_data_segs_in, tcpi_data_segs_out;
    uint64_t tcpi_delivery_rate, tcpi_busy_time, tcpi_rwnd_limited, tcpi_sndbuf_limited;
    uint32_t tcpi_delivered, tcpi_delivered_ce;
    uint64_t tcpi_bytes_sent, tcpi_bytes_retrans;
};

static struct long_info info(int fd)
{
    struct long_info info = {0};
    socklen_t length = sizeof info;
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
    return info;
}

static void say_counts(const char *when, int fd, bool opened)
{
    struct long_info is = info(fd);
    // The SYN of the side that connected counts.
    say("%s: acked %llu, received %llu, sent %llu, resent %llu", when, (unsigned long long)is.tcpi_bytes_acked - opened,
        (unsigned long long)is.tcpi_bytes_received, (unsigned long long)is.tcpi_bytes_sent,
        (unsigned long long)is.tcpi_bytes_retrans);
    say("not sent %u, unacked %u, lost %u, sacked %u, retrans %u", is.tcpi_notsent_bytes, is.first.tcpi_unacked, is.first.tcpi_lost,
        is.first.tcpi_sacked, is.first.tcpi_retrans);
    say("data in %s, out %s", is.tcpi_data_segs_in ? "some" : "none", is.tcpi_data_segs_out ? "some" : "none");
    say("options %#x, reordering %u, advmss %u", is.first.tcpi_options & 7, is.first.tcpi_reordering, is.first.tcpi_advmss);
    say("delivery rate %s, minimum %s", !is.tcpi_data_segs_out == !is.tcpi_delivery_rate ? "plausible" : "no", is.tcpi_min_rtt > 0 ? "plausible" : "no");
    say("more segments than those with data: %s", is.tcpi_segs_out >= is.tcpi_data_segs_out && is.tcpi_segs_in >= is.tcpi_data_segs_in
        ? "yes" : "no");
}

static void active(int fd)
{
    send_pattern(fd, 200000, 4000);
    await_acknowledged(fd);
    step("moved");
    say_counts("sender", fd, !is_server);
}

static void passive(int fd)
{
    receive_pattern(fd, 200000, 4000);
    step("moved");
    say_counts("receiver", fd, !is_server);
}

EACH_SIDE(active, passive)
