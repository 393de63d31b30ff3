// A thread asleep in epoll_wait notices what other threads do to the set: ADD of a ready socket, MOD, and new data.
#include "t.h"

static int epoll;

static void *wait_for_one(void *argument)
{
    struct epoll_event got;
    CALL(epoll_wait(epoll, &got, 1, 10000));
    say("%s, data %u", epoll_bits(got.events), got.data.u32);
    (void)argument;
    return NULL;
}

static pthread_t asleep(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_one, NULL);
    settle();
    return thread;
}

static void active(int fd)
{
    epoll = (int)MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1};
    step("send");
    await(fd, POLLIN);
    pthread_t thread = asleep();
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    pthread_join(thread, NULL);
    char byte;
    MUST(read(fd, &byte, 1));
    thread = asleep();
    event = (struct epoll_event){.events = EPOLLOUT, .data.u32 = 2};
    MUST(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
    pthread_join(thread, NULL);
    event = (struct epoll_event){.events = EPOLLIN, .data.u32 = 3};
    MUST(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
    thread = asleep();
    step("send again");
    pthread_join(thread, NULL);
    MUST(read(fd, &byte, 1));
    // One thread is woken through its own dup of the socket being shut down by another.
    thread = asleep();
    MUST(shutdown(fd, SHUT_RDWR));
    pthread_join(thread, NULL);
    close(epoll);
}

static void passive(int fd)
{
    step("send");
    send_all(fd, "x", 1);
    step("send again");
    send_all(fd, "y", 1);
}

EACH_SIDE(active, passive)
