// More ready sockets than the answer has room for: each is told in turn, none is left behind.
#include "t.h"

enum { COUNT = 20 };

static void active(int fd)
{
    int epoll = (int)MUST(epoll_create1(0)), all[COUNT], seen[COUNT] = {0};
    (void)fd;
    for (int i = 0; i < COUNT; i++) {
        all[i] = connected();
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, all[i], &event));
    }
    step("send");
    for (int i = 0; i < COUNT; i++)
        await(all[i], POLLIN);
    struct epoll_event got[3];
    for (int round = 0; round < 7; round++) {
        int ready = (int)MUST(epoll_wait(epoll, got, 3, 0));
        say("round %d: %d", round, ready);
        for (int i = 0; i < ready; i++)
            seen[got[i].data.u32]++;
    }
    int least = 100, most = 0;
    for (int i = 0; i < COUNT; i++) {
        least = seen[i] < least ? seen[i] : least;
        most = seen[i] > most ? seen[i] : most;
    }
    say("each seen %d to %d times", least, most);
    for (int i = 0; i < COUNT; i++)
        close(all[i]);
    close(epoll);
}

static void passive(int fd)
{
    int all[COUNT];
    (void)fd;
    for (int i = 0; i < COUNT; i++)
        all[i] = connected();
    for (int i = 0; i < COUNT; i++)
        send_all(all[i], "x", 1);
    step("send");
    for (int i = 0; i < COUNT; i++)
        close(all[i]);
}

EACH_SIDE(active, passive)
