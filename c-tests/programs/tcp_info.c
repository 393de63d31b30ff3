// TCP_INFO: the state in each phase of a connection's life, a few plausible fields, and a short buffer.
#include "t.h"

static const char *const states[] = {"?",          "ESTABLISHED", "SYN_SENT",   "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
                                     "TIME_WAIT",  "CLOSE",       "CLOSE_WAIT", "LAST_ACK", "LISTEN",    "CLOSING"};

static int state(int fd)
{
    struct tcp_info info;
    socklen_t length = sizeof info;
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
    return info.tcpi_state;
}

// The last step into a state is the peer's acknowledgement, which takes its time.
static void say_state(const char *when, int fd, int expected)
{
    for (int i = 0; i < 500 && state(fd) != expected; i++)
        usleep(2000);
    say("%s: %s", when, states[state(fd) % 12]);
}

static void active(int fd)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    CALL(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
    say("length at least 104: %s", length >= 104 ? "yes" : "no");
    say("mss %s, cwnd %s, rtt %s, rto %s, pmtu %u", info.tcpi_snd_mss >= 500 ? "yes" : "no", info.tcpi_snd_cwnd > 0 ? "yes" : "no",
        info.tcpi_rtt > 0 ? "yes" : "no", info.tcpi_rto >= 200000 ? "yes" : "no", info.tcpi_pmtu);
    say("options: timestamps %d, window scaling %d", !!(info.tcpi_options & TCPI_OPT_TIMESTAMPS),
        !!(info.tcpi_options & TCPI_OPT_WSCALE));
    unsigned char begin[3] = {0};
    length = 1;
    CALL(getsockopt(fd, IPPROTO_TCP, TCP_INFO, begin, &length));
    say("length %u, state %s", length, states[begin[0] % 12]);

    int other = tcp_socket();
    say_state("fresh", other, TCP_CLOSE);
    struct sockaddr_in nobody = nobody_at(80);
    set_nonblocking(other, true);
    connect(other, SA(nobody), sizeof nobody);
    say_state("connecting", other, TCP_SYN_SENT);
    int listening = tcp_socket();
    MUST(listen(listening, 1));
    say_state("listening", listening, TCP_LISTEN);

    say_state("connected", fd, TCP_ESTABLISHED);
    step("connected");
    MUST(shutdown(fd, SHUT_WR));
    say_state("our FIN acknowledged", fd, TCP_FIN_WAIT2);
    step("first FIN");
    step("second FIN");
    // TIME_WAIT is no socket's state any more.
    say_state("both FINs", fd, TCP_CLOSE);
    step("looked");
}

static void passive(int fd)
{
    step("connected");
    say_state("peer's FIN", fd, TCP_CLOSE_WAIT);
    step("first FIN");
    MUST(shutdown(fd, SHUT_WR));
    step("second FIN");
    say_state("both FINs", fd, TCP_CLOSE);
    step("looked");
}

EACH_SIDE(active, passive)
