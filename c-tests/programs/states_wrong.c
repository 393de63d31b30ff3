// Every call on a fresh, on a bound and on a listening socket: what a program hears that comes too early.
// Not accelerated: both (no connection is made)
#include "t.h"

static void all_calls(int fd)
{
    char text[8] = "";
    int value = 0;
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    struct iovec piece = {text, 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    CALL(read(fd, text, 1));
    CALL(write(fd, text, 1));
    CALL(readv(fd, &piece, 1));
    CALL(writev(fd, &piece, 1));
    CALL(recv(fd, text, 1, 0));
    CALL(recv(fd, text, 1, MSG_DONTWAIT));
    CALL(recv(fd, text, 1, MSG_PEEK));
    CALL(recv(fd, text, 0, 0));
    CALL(recvmsg(fd, &message, 0));
    CALL(send(fd, text, 1, 0));
    CALL(send(fd, text, 1, MSG_DONTWAIT));
    CALL(send(fd, text, 0, 0));
    CALL(sendmsg(fd, &message, 0));
    CALL(getpeername(fd, SA(address), &length));
    CALL(shutdown(fd, SHUT_WR));
    CALL(ioctl(fd, FIONREAD, &value));
}

void server(void)
{
    signal(SIGPIPE, SIG_IGN);
    int fd = tcp_socket();
    say("-- fresh");
    CALL(accept(fd, NULL, NULL));
    all_calls(fd);
    struct sockaddr_in any = at("0.0.0.0", 0);
    CALL(bind(fd, SA(any), sizeof any));
    say("-- bound");
    CALL(accept(fd, NULL, NULL));
    all_calls(fd);
    CALL(listen(fd, 5));
    say("-- listening");
    all_calls(fd);
}

void client(void) { server(); }
