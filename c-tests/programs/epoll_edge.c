// Edge-triggered epoll: told once per arrival, not for what is left; again after MOD; OUT once there is room again.
#include "t.h"

static int epoll;

static void look(const char *when, int timeout)
{
    struct epoll_event events[4];
    int ready = epoll_wait(epoll, events, 4, timeout);
    say("%s: %d, %s", when, ready, ready > 0 ? epoll_bits(events[0].events) : "-");
}

static void watch(int operation, int fd, uint32_t bits)
{
    struct epoll_event event = {.events = bits | EPOLLET};
    MUST(epoll_ctl(epoll, operation, fd, &event));
}

static void active(int fd)
{
    epoll = (int)MUST(epoll_create1(0));
    char text[8];
    watch(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    look("added", 0);
    look("added, again", 0);
    watch(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    look("modified", 0);
    look("modified, again", 0);
    step("first");
    look("data", 10000);
    look("data, again", 0);
    MUST(read(fd, text, 1));
    look("some left", 0);
    step("second");
    look("more data", 10000);
    look("more data, again", 0);
    MUST(read(fd, text, sizeof text));
    look("all taken", 0);
    watch(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP);
    look("IN only", 0);

    set_nonblocking(fd, true);
    static char much[100000];
    long sent = 0, now;
    while ((now = send(fd, much, sizeof much, 0)) > 0)
        sent += now;
    while (poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 200) == 1)
        while ((now = send(fd, much, sizeof much, 0)) > 0)
            sent += now;
    watch(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    look("full", 0);
    tell(sent);
    look("room", 10000);
    step("drained");
    await_acknowledged(fd);
    watch(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP);
    look("before the end", 0);
    step("third");
    look("end", 10000);
    look("end, again", 0);
    close(epoll);
}

static void passive(int fd)
{
    step("first");
    send_all(fd, "abc", 3);
    step("second");
    send_all(fd, "def", 3);
    long left = hear();
    static char much[100000];
    while (left > 0)
        left -= MUST(recv(fd, much, left < (long)sizeof much ? (size_t)left : sizeof much, 0));
    step("drained");
    step("third");
    MUST(shutdown(fd, SHUT_WR));
}

EACH_SIDE(active, passive)
