// A non-blocking connect watched by epoll, as clients use it: OUT when it is made, ERR and HUP when it is refused.
#include "t.h"

void server(void)
{
    int listening = listener(0, 5);
    step("listening");
    int fd = accept_one(listening);
    char byte;
    GOT(read(fd, &byte, 1), &byte);
    CALL(write(fd, "y", 1));
    step("spoken");
}

static int begin(int epoll, uint32_t bits, int n)
{
    struct sockaddr_in address = server_at(n);
    int fd = OPEN(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    struct epoll_event event = {.events = bits, .data.fd = fd}, got;
    // Watched before it is connected: the idle socket reports HUP, which goes away.
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    CALL(epoll_wait(epoll, &got, 1, 0));
    say("%s", epoll_bits(got.events));
    CALL(connect(fd, SA(address), sizeof address));
    if (n == 0)
        await(fd, POLLOUT);
    CALL(epoll_wait(epoll, &got, 1, 10000));
    say("%s", epoll_bits(got.events));
    say("SO_ERROR %s", error_name(get_option(fd, SOL_SOCKET, SO_ERROR)));
    return fd;
}

void client(void)
{
    step("listening");
    int epoll = (int)MUST(epoll_create1(0));
    struct epoll_event got;
    int refused = begin(epoll, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
    close(refused);
    int fd = begin(epoll, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 0);
    CALL(epoll_wait(epoll, &got, 1, 0));
    CALL(write(fd, "x", 1));
    await(fd, POLLIN);
    CALL(epoll_wait(epoll, &got, 1, 10000));
    say("IN: %s", got.events & EPOLLIN ? "yes" : "no");
    char byte;
    GOT(read(fd, &byte, 1), &byte);
    step("spoken");
}
