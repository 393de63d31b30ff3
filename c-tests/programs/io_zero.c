// Zero lengths: nothing is sent, nothing is taken, and neither EOF nor data is mistaken for the other.
#include "t.h"

static void active(int fd)
{
    struct iovec empty[2] = {{"", 0}, {NULL, 0}};
    struct msghdr message = {.msg_iov = empty, .msg_iovlen = 2};
    CALL(write(fd, "", 0));
    CALL(write(fd, NULL, 0));
    CALL(send(fd, "", 0, 0));
    CALL(send(fd, NULL, 0, 0));
    CALL(writev(fd, empty, 2));
    CALL(writev(fd, empty, 0));
    CALL(writev(fd, NULL, 0));
    CALL(sendmsg(fd, &message, 0));
    message.msg_iov = NULL;
    message.msg_iovlen = 0;
    CALL(sendmsg(fd, &message, 0));
    step("nothing sent");
    step("looked");
    CALL(send(fd, "data", 4, 0));
    step("sent");
    step("read");
    CALL(shutdown(fd, SHUT_WR));
    signal(SIGPIPE, SIG_IGN);
    CALL(write(fd, "", 0));
    CALL(send(fd, "", 0, 0));
}

static void passive(int fd)
{
    char byte;
    struct iovec empty[2] = {{&byte, 0}, {NULL, 0}};
    struct msghdr message = {.msg_iov = empty, .msg_iovlen = 2};
    step("nothing sent");
    settle();
    CALL(read(fd, &byte, 0));
    CALL(readv(fd, empty, 2));
    CALL(readv(fd, empty, 0));
    CALL(recv(fd, &byte, 0, MSG_DONTWAIT));
    CALL(recvmsg(fd, &message, MSG_DONTWAIT));
    step("looked");
    step("sent");
    await_queued(fd, 4);
    CALL(read(fd, &byte, 0));
    CALL(recv(fd, &byte, 0, 0));
    CALL(recv(fd, NULL, 0, 0));
    CALL(recvmsg(fd, &message, 0));
    char text[8];
    GOT(recv(fd, text, sizeof text, 0), text);
    step("read");
    await(fd, POLLIN);
    CALL(recv(fd, text, 0, 0));
    CALL(recv(fd, text, sizeof text, 0));
}

EACH_SIDE(active, passive)
