// EPOLLEXCLUSIVE: one connection wakes at least one of several waiters, wrong combinations are refused.
#include "t.h"

#ifndef EPOLLEXCLUSIVE
#define EPOLLEXCLUSIVE (1u << 28)
#endif

enum { WAITERS = 3, CONNECTIONS = 12 };
static int listening;
static int taken;

static void *waiter(void *unused)
{
    (void)unused;
    int epoll = (int)MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE}, got;
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event));
    // A waiter that sees nothing for a while looks whether all of them have come.
    while (__atomic_load_n(&taken, __ATOMIC_SEQ_CST) < CONNECTIONS) {
        if (epoll_wait(epoll, &got, 1, 200) < 1)
            continue;
        int fd = accept(listening, NULL, NULL);
        if (fd < 0)
            continue;
        __atomic_fetch_add(&taken, 1, __ATOMIC_SEQ_CST);
        send_all(fd, "x", 1);
        close(fd);
    }
    return NULL;
}

void server(void)
{
    listening = listener(0, 64);
    set_nonblocking(listening, true);
    int epoll = (int)MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT};
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event));
    event.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP;
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event));
    event.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLET;
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event));
    CALL(epoll_ctl(epoll, EPOLL_CTL_MOD, listening, &event));
    event.events = EPOLLIN;
    CALL(epoll_ctl(epoll, EPOLL_CTL_MOD, listening, &event));
    CALL(epoll_ctl(epoll, EPOLL_CTL_DEL, listening, &event));
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event));
    event.events = EPOLLIN | EPOLLEXCLUSIVE;
    CALL(epoll_ctl(epoll, EPOLL_CTL_MOD, listening, &event));
    close(epoll);

    pthread_t threads[WAITERS];
    for (int i = 0; i < WAITERS; i++)
        pthread_create(&threads[i], NULL, waiter, NULL);
    settle();
    step("waiting");
    for (int i = 0; i < WAITERS; i++)
        pthread_join(threads[i], NULL);
    say("taken %d", taken);
}

void client(void)
{
    step("waiting");
    for (int i = 0; i < CONNECTIONS; i++) {
        int fd = connect_to(0);
        char byte;
        if (read(fd, &byte, 1) != 1)
            say("connection %d: not served", i);
        close(fd);
    }
}
