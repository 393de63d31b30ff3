// MSG_MORE and TCP_CORK: whatever is held back arrives whole and in order, at the latest when uncorked.
#include "t.h"

static void active(int fd)
{
    CALL(send(fd, "head ", 5, MSG_MORE));
    CALL(send(fd, "and body", 8, 0));
    step("more");
    // The last piece was flagged too: the kernel gives up waiting after 200 ms.
    CALL(send(fd, "left over", 9, MSG_MORE));
    step("left over");
    set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
    say("TCP_CORK %d", get_option(fd, IPPROTO_TCP, TCP_CORK));
    for (int i = 0; i < 1000; i++)
        send_all(fd, "0123456", 7);
    set_option(fd, IPPROTO_TCP, TCP_CORK, 0);
    step("corked");
    set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
    CALL(send(fd, "closing", 7, 0));
    CALL(shutdown(fd, SHUT_WR));
}

static void passive(int fd)
{
    char text[8000];
    step("more");
    GOT(recv(fd, text, 13, MSG_WAITALL), text);
    step("left over");
    GOT(recv(fd, text, 9, MSG_WAITALL), text);
    step("corked");
    GOT(recv(fd, text, 7000, MSG_WAITALL), text);
    GOT(recv(fd, text, sizeof text, MSG_WAITALL), text);
    CALL(recv(fd, text, sizeof text, 0));
}

EACH_SIDE(active, passive)
