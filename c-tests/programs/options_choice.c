// The options that choose how a connection behaves: congestion control, FIN_WAIT_2, pacing, path MTU; on a connection, on what
// it was accepted from, and on a fresh socket.
#include "t.h"

static void algorithm(int fd, const char *name)
{
    char is[32] = {0};
    socklen_t length = sizeof is;
    CALL(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, strlen(name)));
    CALL(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, is, &length));
    say("%s gives %s in %u bytes", name, is, length);
}

static void pacing(int fd, uint64_t rate)
{
    uint64_t is = 0;
    socklen_t length = sizeof is;
    CALL(setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate));
    CALL(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &is, &length));
    say("rate %llu in %u bytes", (unsigned long long)is, length);
    uint32_t narrow = 0;
    length = sizeof narrow;
    CALL(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &narrow, &length));
    say("rate %u in %u bytes", narrow, length);
}

static void walk(int fd)
{
    algorithm(fd, "reno");
    algorithm(fd, "cubic");
    algorithm(fd, "no such thing");
    algorithm(fd, "reno");
    char none[8];
    socklen_t length = sizeof none;
    CALL(getsockopt(fd, IPPROTO_TCP, TCP_CC_INFO, none, &length));
    say("reno has %u bytes to tell", length);
    pacing(fd, 1 << 20);
    pacing(fd, ~0ull);
    say_option(fd, IPPROTO_TCP, "TCP_LINGER2", TCP_LINGER2, 7);
    say_option(fd, IPPROTO_TCP, "TCP_LINGER2", TCP_LINGER2, -1);
    say_option(fd, IPPROTO_TCP, "TCP_LINGER2", TCP_LINGER2, 0);
    say_option(fd, IPPROTO_IP, "IP_MTU_DISCOVER", IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    say_option(fd, IPPROTO_IP, "IP_MTU_DISCOVER", IP_MTU_DISCOVER, 99);
    say_option(fd, IPPROTO_IP, "IP_MTU_DISCOVER", IP_MTU_DISCOVER, IP_PMTUDISC_WANT);
    say_option(fd, IPPROTO_IP, "IP_RECVERR", IP_RECVERR, 1);
    say_option(fd, IPPROTO_IP, "IP_RECVERR", IP_RECVERR, 0);
    say_option(fd, IPPROTO_TCP, "TCP_KEEPIDLE", TCP_KEEPIDLE, 40);
    say_option(fd, IPPROTO_TCP, "TCP_USER_TIMEOUT", TCP_USER_TIMEOUT, 9000);
    int mtu = -1;
    length = sizeof mtu;
    CALL(getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &length));
    say("mtu %d", mtu);
}

WALK_EACH_SIDE(walk)
