// SOL_SOCKET options that servers and clients use: what is set reads back, on fresh and on connected sockets.
#include "t.h"

#define SET(option, value) say_option(fd, SOL_SOCKET, #option, option, value)

static void walk(int fd)
{
    SET(SO_REUSEADDR, 1);
    SET(SO_REUSEADDR, 0);
    SET(SO_REUSEADDR, 17);
    SET(SO_REUSEPORT, 1);
    SET(SO_REUSEPORT, 0);
    SET(SO_KEEPALIVE, 1);
    SET(SO_KEEPALIVE, 0);
    SET(SO_BROADCAST, 1);
    SET(SO_OOBINLINE, 1);
    SET(SO_DONTROUTE, 1);
    SET(SO_DONTROUTE, 0);
    SET(SO_SNDBUF, 0);
    SET(SO_SNDBUF, 20000);
    SET(SO_RCVBUF, 0);
    SET(SO_RCVBUF, 20000);
    SET(SO_RCVBUF, 100000);
    SET(SO_RCVBUF, -1);
    SET(SO_RCVBUF, 1 << 30);
    SET(SO_SNDBUF, 1 << 30);
    // Beyond what is allowed to others, with the right to it.
    int large = 100 << 20;
    CALL(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof large));
    CALL(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof large));
    say("%d %d", get_option(fd, SOL_SOCKET, SO_SNDBUF), get_option(fd, SOL_SOCKET, SO_RCVBUF));
    SET(SO_PRIORITY, 3);
    SET(SO_PRIORITY, 0);
    SET(SO_RCVLOWAT, 5);
    SET(SO_RCVLOWAT, 0);
    SET(SO_SNDLOWAT, 5);
    SET(SO_TIMESTAMP, 1);
    SET(SO_TIMESTAMP, 0);
    SET(SO_MARK, 5);
    SET(SO_MARK, 0);
    SET(SO_INCOMING_CPU, 0);
    SET(SO_BUSY_POLL, 50);
    SET(SO_BUSY_POLL, 0);
    SET(SO_ZEROCOPY, 1);
    SET(SO_TYPE, 1);
    SET(SO_PROTOCOL, 1);
    SET(SO_DOMAIN, 1);
    SET(SO_ACCEPTCONN, 1);
    SET(SO_ERROR, 1);
    SET(SO_PEERCRED, 1);
}

WALK_EACH_SIDE(walk)
