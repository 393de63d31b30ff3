// Level-triggered epoll: told again as long as it lasts; IN, OUT, RDHUP, HUP and ERR as they come; MOD and DEL.
#include "t.h"

static void look(const char *when, int epoll, int timeout)
{
    struct epoll_event events[4];
    int ready = epoll_wait(epoll, events, 4, timeout);
    if (ready <= 0)
        say("%s: %d", when, ready);
    for (int i = 0; i < ready; i++)
        say("%s: %d, %s, data %llx", when, ready, epoll_bits(events[i].events), (unsigned long long)events[i].data.u64);
}

static void watch(int epoll, int operation, int fd, uint32_t bits)
{
    struct epoll_event event = {.events = bits, .data.u64 = 0xfeedfacecafebeefull};
    MUST(epoll_ctl(epoll, operation, fd, &event));
}

static void active(int fd)
{
    int epoll = (int)MUST(epoll_create1(0));
    look("empty", epoll, 0);
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP);
    look("quiet", epoll, 0);
    look("quiet, waiting", epoll, 50);
    step("quiet");
    look("data", epoll, -1);
    look("data again", epoll, 0);
    char text[8];
    MUST(read(fd, text, 1));
    look("half taken", epoll, 0);
    MUST(read(fd, text, 1));
    look("taken", epoll, 0);
    watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    look("with OUT", epoll, 0);
    look("with OUT again", epoll, 0);
    watch(epoll, EPOLL_CTL_MOD, fd, 0);
    look("with nothing", epoll, 0);
    step("second data");
    await_queued(fd, 1);
    look("data unwanted", epoll, 0);
    watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP);
    look("data wanted", epoll, 0);
    MUST(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL));
    look("deleted", epoll, 0);
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP);
    look("added with data", epoll, 0);
    MUST(read(fd, text, 1));
    step("third");
    look("end", epoll, -1);
    MUST(read(fd, text, 1));
    look("end read", epoll, 0);
    MUST(shutdown(fd, SHUT_WR));
    step("both shut");
    settle();
    look("both shut", epoll, 0);
    watch(epoll, EPOLL_CTL_MOD, fd, 0);
    look("both shut, wanting nothing", epoll, 0);

    int other = connected();
    watch(epoll, EPOLL_CTL_DEL, fd, 0);
    watch(epoll, EPOLL_CTL_ADD, other, EPOLLIN | EPOLLRDHUP | EPOLLOUT);
    look("other", epoll, 0);
    step("other seen");
    step("reset");
    await(other, 0);
    look("reset", epoll, -1);
    MUST(epoll_ctl(epoll, EPOLL_CTL_DEL, other, NULL));
    int fresh = tcp_socket();
    watch(epoll, EPOLL_CTL_ADD, fresh, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    look("fresh", epoll, 0);
    CALL(close(epoll));
}

static void passive(int fd)
{
    step("quiet");
    send_all(fd, "ab", 2);
    step("second data");
    send_all(fd, "c", 1);
    step("third");
    settle();
    MUST(shutdown(fd, SHUT_WR));
    step("both shut");
    int other = connected();
    step("other seen");
    struct linger linger = {.l_onoff = 1};
    MUST(setsockopt(other, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    close(other);
    step("reset");
}

EACH_SIDE(active, passive)
