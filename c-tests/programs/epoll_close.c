// Closing what an epoll watches takes it out, but not while a dup of it is left; closing the epoll itself; reuse.
#include "t.h"

static void active(int fd)
{
    int epoll = (int)MUST(epoll_create1(0)), other = connected();
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1}, got[4];
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    event.data.u32 = 2;
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, other, &event));
    step("data on both");
    await(fd, POLLIN);
    await(other, POLLIN);
    CALL(epoll_wait(epoll, got, 4, 0));
    int twin = (int)MUST(dup(fd));
    CALL(close(fd));
    CALL(epoll_wait(epoll, got, 4, 0));
    CALL(close(other));
    CALL(epoll_wait(epoll, got, 4, 0));
    say("left: data %u", got[0].data.u32);
    CALL(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL));
    // The number is free again; another socket on it is another registration.
    int fresh = tcp_socket();
    say("lowest number again: %s", fresh == (fd < other ? fd : other) ? "yes" : "no");
    event.data.u32 = 3;
    event.events = EPOLLOUT;
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, fresh, &event));
    CALL(epoll_wait(epoll, got, 4, 0));
    CALL(close(fresh));
    CALL(epoll_wait(epoll, got, 4, 0));
    CALL(close(twin));
    CALL(epoll_wait(epoll, got, 4, 0));

    // dup2 over a watched descriptor closes it as close does.
    int third = connected();
    event.events = EPOLLOUT;
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, third, &event));
    CALL(epoll_wait(epoll, got, 4, 0));
    int null = (int)MUST(open("/dev/null", O_RDWR));
    MUST(dup2(null, third));
    CALL(epoll_wait(epoll, got, 4, 0));
    step("third replaced");
    int epoll_twin = (int)MUST(dup(epoll));
    close(epoll);
    CALL(epoll_wait(epoll, got, 4, 0));
    CALL(epoll_wait(epoll_twin, got, 4, 0));
    close(epoll_twin);
    close(third);
    close(null);
}

static void passive(int fd)
{
    int other = connected();
    send_all(fd, "x", 1);
    send_all(other, "y", 1);
    step("data on both");
    int third = connected();
    char byte;
    CALL(read(third, &byte, 1));
    step("third replaced");
    close(third);
    close(other);
}

EACH_SIDE(active, passive)
