// Socket options with wrong levels, names, lengths and pointers; short and long buffers for reading.
#include "t.h"

static void get_with(int fd, const char *what, int level, int name, int room)
{
    unsigned char value[16];
    memset(value, 0x5a, sizeof value);
    socklen_t length = (socklen_t)room;
    errno = 0;
    int result = getsockopt(fd, level, name, value, &length);
    say("%s, room %d: %s, length %d, %02x%02x%02x%02x%02x", what, room, result ? error_name(errno) : "done", (int)length,
        value[0], value[1], value[2], value[3], value[4]);
}

static void walk(int fd)
{
    int value = 1;
    socklen_t length = sizeof value;
    CALL(setsockopt(fd, SOL_SOCKET, 9999, &value, sizeof value));
    CALL(getsockopt(fd, SOL_SOCKET, 9999, &value, &length));
    CALL(setsockopt(fd, IPPROTO_TCP, 9999, &value, sizeof value));
    CALL(getsockopt(fd, IPPROTO_TCP, 9999, &value, &length));
    CALL(setsockopt(fd, 9999, 1, &value, sizeof value));
    CALL(getsockopt(fd, 9999, 1, &value, &length));
    CALL(setsockopt(fd, IPPROTO_UDP, 1, &value, sizeof value));
    CALL(getsockopt(fd, IPPROTO_UDP, 1, &value, &length));
    CALL(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, sizeof value));

    for (int room = -1; room <= 4; room++) {
        say("set with length %d", room);
        CALL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, (socklen_t)room));
        CALL(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, (socklen_t)room));
    }
    long roomy = 1;
    CALL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &roomy, sizeof roomy));
    CALL(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &roomy, sizeof roomy));
    for (int room = -1; room <= 6; room++) {
        get_with(fd, "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, room);
        get_with(fd, "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, room);
        get_with(fd, "SO_TYPE", SOL_SOCKET, SO_TYPE, room);
        get_with(fd, "SO_ERROR", SOL_SOCKET, SO_ERROR, room);
    }
    CALL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, null_pointer, sizeof value));
    CALL(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, null_pointer, sizeof value));
    CALL(setsockopt(fd, SOL_SOCKET, SO_LINGER, null_pointer, sizeof(struct linger)));
    length = sizeof value;
    CALL(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, null_pointer, &length));
    CALL(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, null_pointer, &length));
    CALL(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, null_pointer));
    CALL(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, null_pointer));
    CALL(setsockopt(-1, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value));
    CALL(getsockopt(-1, SOL_SOCKET, SO_KEEPALIVE, &value, &length));
}

WALK_EACH_SIDE(walk)
