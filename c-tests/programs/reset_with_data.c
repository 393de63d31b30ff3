// A reset that overtakes data the peer has not read yet: the data is still there or gone, as the kernel decides.
#include "t.h"

static void active(int fd)
{
    CALL(send(fd, "before the reset", 16, 0));
    await_acknowledged(fd);
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    CALL(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    CALL(close(fd));
    step("closed");
}

static void passive(int fd)
{
    char text[32];
    step("closed");
    say("poll: %s", poll_bits(await(fd, POLLRDHUP)));
    CALL(send(fd, "x", 1, MSG_NOSIGNAL));
    GOT(recv(fd, text, sizeof text, 0), text);
    CALL(recv(fd, text, sizeof text, 0));
    CALL(recv(fd, text, sizeof text, 0));
}

EACH_SIDE(active, passive)
