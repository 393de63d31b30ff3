// After a full close of the peer: the first write is taken, its answer is a reset, the next is EPIPE.
#include "t.h"

static void active(int fd)
{
    CALL(close(fd));
    step("closed");
}

static void passive(int fd)
{
    char byte;
    step("closed");
    await(fd, POLLRDHUP);
    say("poll: %s", poll_bits(await(fd, POLLIN | POLLRDHUP | POLLOUT)));
    CALL(recv(fd, &byte, 1, 0));
    CALL(send(fd, "into the void", 13, MSG_NOSIGNAL));
    say("poll: %s", poll_bits(await(fd, 0)));
    CALL(recv(fd, &byte, 1, 0));
    CALL(send(fd, "x", 1, MSG_NOSIGNAL));
    say("SO_ERROR %s", error_name(get_option(fd, SOL_SOCKET, SO_ERROR)));
    CALL(recv(fd, &byte, 1, 0));
}

EACH_SIDE(active, passive)
