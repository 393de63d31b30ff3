// IPPROTO_IP options on TCP sockets: TOS, TTL, MTU discovery, BIND_ADDRESS_NO_PORT, FREEBIND and one that is refused.
#include "t.h"

#define SET(option, value) say_option(fd, IPPROTO_IP, #option, option, value)

static void walk(int fd)
{
    SET(IP_TOS, 0x10);
    SET(IP_TOS, 0);
    SET(IP_TTL, 64);
    SET(IP_TTL, 0);
    SET(IP_TTL, 256);
    SET(IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    SET(IP_MTU_DISCOVER, 9);
    SET(IP_RECVERR, 1);
    SET(IP_RECVERR, 0);
    SET(IP_PKTINFO, 1);
    SET(IP_RECVTOS, 1);
    SET(IP_BIND_ADDRESS_NO_PORT, 1);
    SET(IP_FREEBIND, 1);
    SET(IP_FREEBIND, 0);
    SET(IP_TRANSPARENT, 0);
    SET(IP_MINTTL, 0);
    SET(9999, 1);
    unsigned char byte = 8;
    CALL(setsockopt(fd, IPPROTO_IP, IP_TOS, &byte, 1));
    socklen_t length = 1;
    CALL(getsockopt(fd, IPPROTO_IP, IP_TOS, &byte, &length));
    say("reads %d, length %u", byte, length);
}

WALK_EACH_SIDE(walk)
