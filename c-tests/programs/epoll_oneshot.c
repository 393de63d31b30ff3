// EPOLLONESHOT: one event, then silence in spite of new data, until MOD arms it again; HUP is silenced too.
#include "t.h"

static int epoll;

static void look(const char *when, int timeout)
{
    struct epoll_event events[4];
    int ready = epoll_wait(epoll, events, 4, timeout);
    say("%s: %d, %s", when, ready, ready > 0 ? epoll_bits(events[0].events) : "-");
}

static void active(int fd)
{
    epoll = (int)MUST(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT};
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    step("first");
    look("data", 10000);
    look("data, again", 0);
    step("second");
    await_queued(fd, 2);
    look("more data", 0);
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    CALL(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
    look("armed", 0);
    look("armed, again", 0);
    event.events = EPOLLIN | EPOLLOUT | EPOLLONESHOT | EPOLLET;
    CALL(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
    look("armed with edge", 0);
    look("armed with edge, again", 0);
    step("third");
    await(fd, POLLRDHUP);
    MUST(shutdown(fd, SHUT_WR));
    settle();
    look("hung up, not armed", 0);
    event.events = EPOLLONESHOT;
    CALL(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
    look("hung up, armed for nothing", 0);
    look("again", 0);
    close(epoll);
}

static void passive(int fd)
{
    step("first");
    send_all(fd, "a", 1);
    step("second");
    send_all(fd, "b", 1);
    step("third");
    MUST(shutdown(fd, SHUT_WR));
}

EACH_SIDE(active, passive)
