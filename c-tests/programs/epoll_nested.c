// An epoll inside an epoll, inside poll and inside select: ready when what it watches is ready.
#include "t.h"

static void active(int fd)
{
    int inner = (int)MUST(epoll_create1(0)), outer = (int)MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1}, got;
    MUST(epoll_ctl(inner, EPOLL_CTL_ADD, fd, &event));
    event.data.u32 = 2;
    MUST(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event));
    struct pollfd one = {.fd = outer, .events = POLLIN | POLLOUT};
    CALL(epoll_wait(outer, &got, 1, 0));
    CALL(poll(&one, 1, 0));
    step("quiet");
    CALL(epoll_wait(outer, &got, 1, 10000));
    say("outer: %s, data %u", epoll_bits(got.events), got.data.u32);
    CALL(poll(&one, 1, 0));
    say("poll: %s", poll_bits(one.revents));
    fd_set in;
    FD_ZERO(&in);
    FD_SET(inner, &in);
    FD_SET(outer, &in);
    struct timeval none = {0};
    CALL(select((inner > outer ? inner : outer) + 1, &in, NULL, NULL, &none));
    CALL(epoll_wait(inner, &got, 1, 0));
    say("inner: %s, data %u", epoll_bits(got.events), got.data.u32);
    char byte;
    MUST(read(fd, &byte, 1));
    CALL(epoll_wait(outer, &got, 1, 0));
    CALL(epoll_wait(inner, &got, 1, 0));
    CALL(poll(&one, 1, 0));
    step("empty");
    one.events = POLLIN;
    CALL(poll(&one, 1, 10000));
    say("woken: %s", poll_bits(one.revents));
    close(inner);
    CALL(epoll_wait(outer, &got, 1, 0));
    close(outer);
}

static void passive(int fd)
{
    step("quiet");
    settle();
    send_all(fd, "x", 1);
    step("empty");
    settle();
    send_all(fd, "y", 1);
}

EACH_SIDE(active, passive)
