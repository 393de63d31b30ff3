// An epoll shared over fork: the child waits on it, adds to it and takes away, and the parent sees that.
#include "t.h"

static void active(int fd)
{
    int epoll = (int)MUST(epoll_create1(0)), other = connected();
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1}, got[4];
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    pid_t child = t_fork();
    if (child == 0) {
        CALL(epoll_wait(epoll, got, 4, 10000));
        say("child: %s, data %u", epoll_bits(got[0].events), got[0].data.u32);
        char byte;
        GOT(read(fd, &byte, 1), &byte);
        event.data.u32 = 2;
        CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, other, &event));
        CALL(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL));
        _exit(0);
    }
    step("first");
    reap("child", child);
    step("second");
    CALL(epoll_wait(epoll, got, 4, 10000));
    say("parent: %s, data %u", epoll_bits(got[0].events), got[0].data.u32);
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    await(fd, POLLIN);
    CALL(epoll_wait(epoll, got, 4, 0));
    close(epoll);
    close(other);
}

static void passive(int fd)
{
    int other = connected();
    step("first");
    send_all(fd, "x", 1);
    step("second");
    send_all(other, "y", 1);
    send_all(fd, "z", 1);
    step("round over");
    close(other);
}

// As EACH_SIDE, but the passive side holds `other` open until the active one has seen all.
static void active_then_over(int fd)
{
    active(fd);
    step("round over");
}

EACH_SIDE(active_then_over, passive)
