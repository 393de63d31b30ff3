// MSG_PEEK: the bytes stay, in part and in whole, over several segments, with MSG_WAITALL, and at the end.
#include "t.h"

static void active(int fd)
{
    CALL(send(fd, "hello ", 6, 0));
    step("first");
    step("seen");
    CALL(send(fd, "world", 5, 0));
    step("second");
    step("read");
    CALL(shutdown(fd, SHUT_WR));
}

static void passive(int fd)
{
    char text[64], small[2];
    struct iovec pieces[2] = {{small, 2}, {text, sizeof text}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    step("first");
    await_queued(fd, 6);
    GOT(recv(fd, text, 3, MSG_PEEK), text);
    GOT(recv(fd, text, sizeof text, MSG_PEEK), text);
    GOT(recv(fd, text, sizeof text, MSG_PEEK | MSG_DONTWAIT), text);
    step("seen");
    step("second");
    await_queued(fd, 11);
    GOT(recv(fd, text, 11, MSG_PEEK | MSG_WAITALL), text);
    GOT(recv(fd, text, 2, 0), text);
    CALL(recvmsg(fd, &message, MSG_PEEK));
    say_bytes("small", small, 2);
    say_bytes("text", text, 7);
    GOT(recvfrom(fd, text, sizeof text, MSG_PEEK, NULL, NULL), text);
    int queued;
    CALL(ioctl(fd, FIONREAD, &queued));
    say("queued %d", queued);
    GOT(read(fd, text, sizeof text), text);
    CALL(recv(fd, text, sizeof text, MSG_PEEK | MSG_DONTWAIT));
    step("read");
    await(fd, POLLIN);
    CALL(recv(fd, text, sizeof text, MSG_PEEK));
    CALL(recv(fd, text, sizeof text, MSG_PEEK));
    CALL(recv(fd, text, sizeof text, 0));
}

EACH_SIDE(active, passive)
