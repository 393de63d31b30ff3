// TCP_INFO counts what was moved, the same at both ends and on every stack.
#include "t.h"
#include <linux/tcp.h>

#define INFO tcp_info

static struct INFO info(int fd)
{
    struct INFO info = {0};
    socklen_t length = sizeof info;
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
    return info;
}

static void say_counts(const char *when, int fd, bool opened)
{
    struct INFO is = info(fd);
    // The SYN of the side that connected counts.
    say("%s: acked %llu, received %llu, sent %llu, resent %llu", when, (unsigned long long)is.tcpi_bytes_acked - opened,
        (unsigned long long)is.tcpi_bytes_received, (unsigned long long)is.tcpi_bytes_sent,
        (unsigned long long)is.tcpi_bytes_retrans);
    say("not sent %u, unacked %u, lost %u, sacked %u, retrans %u", is.tcpi_notsent_bytes, is.tcpi_unacked, is.tcpi_lost,
        is.tcpi_sacked, is.tcpi_retrans);
    say("data in %s, out %s", is.tcpi_data_segs_in ? "some" : "none", is.tcpi_data_segs_out ? "some" : "none");
    say("options %#x, reordering %u, advmss %u", is.tcpi_options & 7, is.tcpi_reordering, is.tcpi_advmss);
    say("busy %s, delivery rate %s, minimum %s", is.tcpi_busy_time || !is.tcpi_data_segs_out ? "plausible" : "no",
        !is.tcpi_data_segs_out == !is.tcpi_delivery_rate ? "plausible" : "no", is.tcpi_min_rtt > 0 ? "plausible" : "no");
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
