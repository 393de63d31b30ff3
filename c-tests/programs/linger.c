// SO_LINGER: zero resets at close, a time waits for the acknowledgement; get and set with wrong lengths.
#include "t.h"

static void active(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 5};
    socklen_t length = sizeof linger;
    CALL(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(int)));
    CALL(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    memset(&linger, 0, sizeof linger);
    CALL(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length));
    say("%d %d, length %u", linger.l_onoff, linger.l_linger, length);
    length = 4;
    memset(&linger, 0x5a, sizeof linger);
    CALL(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length));
    say("%d %x, length %u", linger.l_onoff, linger.l_linger, length);
    CALL(send(fd, "delivered", 9, 0));
    CALL(close(fd));
    step("closed in order");
    int other = connected();
    linger = (struct linger){.l_onoff = 1, .l_linger = 0};
    CALL(setsockopt(other, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    CALL(close(other));
    step("closed by reset");
}

static void passive(int fd)
{
    char text[16];
    step("closed in order");
    GOT(recv(fd, text, 9, MSG_WAITALL), text);
    CALL(recv(fd, text, sizeof text, 0));
    int other = connected();
    step("closed by reset");
    say("poll: %s", poll_bits(await(other, POLLIN | POLLRDHUP)));
    CALL(recv(other, text, sizeof text, 0));
    CALL(recv(other, text, sizeof text, 0));
    close(other);
}

EACH_SIDE(active, passive)
