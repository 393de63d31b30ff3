// shutdown(SHUT_RD): reading answers 0, data that comes nevertheless is still handed out, writing goes on.
#include "t.h"

static void active(int fd)
{
    char text[32];
    CALL(shutdown(fd, SHUT_RD));
    CALL(recv(fd, text, sizeof text, 0));
    say("poll: %s", poll_bits(await(fd, POLLIN | POLLOUT | POLLRDHUP)));
    step("closed for reading");
    step("more came");
    await_queued(fd, 4);
    GOT(recv(fd, text, sizeof text, 0), text);
    CALL(recv(fd, text, sizeof text, 0));
    CALL(send(fd, "outward", 7, 0));
    CALL(shutdown(fd, SHUT_RD));
}

static void passive(int fd)
{
    char text[32];
    step("closed for reading");
    CALL(send(fd, "more", 4, 0));
    await_acknowledged(fd);
    step("more came");
    GOT(recv(fd, text, 7, MSG_WAITALL), text);
}

EACH_SIDE(active, passive)
