// IPPROTO_TCP options that servers and clients use: what is set reads back, and the values that are refused.
#include "t.h"

#define SET(option, value) say_option(fd, IPPROTO_TCP, #option, option, value)

static void walk(int fd)
{
    SET(TCP_NODELAY, 1);
    SET(TCP_NODELAY, 0);
    SET(TCP_NODELAY, 7);
    SET(TCP_CORK, 1);
    SET(TCP_CORK, 0);
    SET(TCP_KEEPIDLE, 60);
    SET(TCP_KEEPIDLE, 0);
    SET(TCP_KEEPIDLE, 40000);
    SET(TCP_KEEPINTVL, 10);
    SET(TCP_KEEPINTVL, 0);
    SET(TCP_KEEPCNT, 4);
    SET(TCP_KEEPCNT, 0);
    SET(TCP_KEEPCNT, 128);
    SET(TCP_SYNCNT, 3);
    SET(TCP_SYNCNT, 0);
    SET(TCP_LINGER2, 7);
    SET(TCP_DEFER_ACCEPT, 5);
    SET(TCP_DEFER_ACCEPT, 0);
    SET(TCP_QUICKACK, 1);
    SET(TCP_USER_TIMEOUT, 30000);
    SET(TCP_USER_TIMEOUT, -1);
    SET(TCP_WINDOW_CLAMP, 100000);
    SET(TCP_NOTSENT_LOWAT, 16384);
    SET(TCP_NOTSENT_LOWAT, 0);
}

static void congestion(int fd)
{
    char name[16] = "";
    socklen_t length = sizeof name;
    CALL(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length));
    say("a name: %s, length %u", name[0] ? "yes" : "no", length);
    CALL(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    length = sizeof name;
    CALL(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length));
    say("%.16s", name);
    CALL(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "no such", 7));
    CALL(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "", 0));
}

static void active(int fd)
{
    walk(fd);
    congestion(fd);
    int segment = get_option(fd, IPPROTO_TCP, TCP_MAXSEG);
    say("TCP_MAXSEG sensible: %s", segment >= 500 && segment <= 1460 ? "yes" : "no");
    char text[8];
    step("walked");
    GOT(recv(fd, text, 7, MSG_WAITALL), text);
    say("-- fresh");
    int fresh = tcp_socket();
    walk(fresh);
    congestion(fresh);
    say_option(fresh, IPPROTO_TCP, "TCP_MAXSEG", TCP_MAXSEG, 1000);
    say_option(fresh, IPPROTO_TCP, "TCP_MAXSEG", TCP_MAXSEG, 10);
    say_option(fresh, IPPROTO_TCP, "TCP_FASTOPEN_CONNECT", TCP_FASTOPEN_CONNECT, 0);
}

static void passive(int fd)
{
    step("walked");
    CALL(send(fd, "works!!", 7, 0));
}

EACH_SIDE(active, passive)
