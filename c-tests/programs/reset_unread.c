// close() with unread data resets: what the peer's poll, read, write and SO_ERROR then say.
#include "t.h"

static void active(int fd)
{
    step("sent");
    await_queued(fd, 6);
    CALL(close(fd));
    step("closed");
}

static void passive(int fd)
{
    char byte;
    CALL(send(fd, "unread", 6, 0));
    step("sent");
    step("closed");
    say("poll: %s", poll_bits(await(fd, POLLIN | POLLRDHUP)));
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    CALL(getpeername(fd, SA(peer), &length));
    CALL(recv(fd, &byte, 1, 0));
    CALL(recv(fd, &byte, 1, 0));
    say("poll: %s", poll_bits(await(fd, POLLIN | POLLRDHUP)));
    CALL(send(fd, "x", 1, MSG_NOSIGNAL));
    say("SO_ERROR %s", error_name(get_option(fd, SOL_SOCKET, SO_ERROR)));
    CALL(shutdown(fd, SHUT_WR));
}

EACH_SIDE(active, passive)
