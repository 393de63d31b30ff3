// socket(): families, types, protocols and flags, right and wrong; SO_TYPE, SO_DOMAIN and SO_PROTOCOL tell them.
// Not accelerated: both (no connection is made)
#include "t.h"

#include <sys/stat.h>

static void say_kind(int fd)
{
    struct stat status;
    MUST(fstat(fd, &status));
    say("  domain %d, type %d, protocol %d, a socket: %s", get_option(fd, SOL_SOCKET, SO_DOMAIN), get_option(fd, SOL_SOCKET, SO_TYPE),
        get_option(fd, SOL_SOCKET, SO_PROTOCOL), S_ISSOCK(status.st_mode) ? "yes" : "no");
    close(fd);
}

void server(void)
{
    say_kind(OPEN(socket(AF_INET, SOCK_STREAM, 0)));
    say_kind(OPEN(socket(AF_INET, SOCK_STREAM, IPPROTO_TCP)));
    say_kind(OPEN(socket(AF_INET6, SOCK_STREAM, 0)));
    say_kind(OPEN(socket(AF_INET, SOCK_DGRAM, 0)));
    say_kind(OPEN(socket(AF_UNIX, SOCK_STREAM, 0)));
    say_kind(OPEN(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
    OPEN(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    OPEN(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    OPEN(socket(AF_INET, SOCK_SEQPACKET, 0));
    OPEN(socket(AF_INET, 0, 0));
    OPEN(socket(AF_INET, 77, 0));
    OPEN(socket(AF_INET, SOCK_STREAM | 0x10, 0));
    OPEN(socket(AF_INET, SOCK_STREAM, 300));
    OPEN(socket(AF_INET, SOCK_STREAM, -1));
    OPEN(socket(-1, SOCK_STREAM, 0));
    OPEN(socket(999, SOCK_STREAM, 0));
    int pair[2];
    CALL(socketpair(AF_INET, SOCK_STREAM, 0, pair));
    CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    say_kind(pair[0]);
    CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, null_pointer));
}

void client(void) { server(); }
