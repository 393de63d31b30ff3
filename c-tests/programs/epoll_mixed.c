// One epoll over sockets, a pipe, an eventfd, a timerfd and a UDP socket: each wakes a sleeping wait.
#include "t.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>

enum { SOCKET = 1, PIPE, EVENT, TIMER, UDP };
static const char *const names[] = {"?", "socket", "pipe", "eventfd", "timerfd", "udp"};
static int epoll;

static void watch(int fd, uint32_t name)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = name};
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

// The order among what is ready together is up to the kernel, so it is not told.
static void look(const char *when, int timeout)
{
    struct epoll_event events[8];
    int ready = epoll_wait(epoll, events, 8, timeout);
    say("%s: %d", when, ready);
    for (uint32_t name = SOCKET; name <= UDP; name++)
        for (int i = 0; i < ready; i++)
            if (events[i].data.u32 == name)
                say("  %s: %s", names[name], epoll_bits(events[i].events));
}

static void active(int fd)
{
    epoll = (int)MUST(epoll_create1(0));
    int pipes[2], event = (int)MUST(eventfd(0, 0)), timer = (int)MUST(timerfd_create(CLOCK_MONOTONIC, 0));
    MUST(pipe(pipes));
    int udp = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in loopback = at("127.0.0.1", 0);
    socklen_t length = sizeof loopback;
    MUST(bind(udp, SA(loopback), sizeof loopback));
    MUST(getsockname(udp, SA(loopback), &length));
    watch(fd, SOCKET);
    watch(pipes[0], PIPE);
    watch(event, EVENT);
    watch(timer, TIMER);
    watch(udp, UDP);
    look("quiet", 0);
    step("one");
    look("woken by the socket", -1);
    struct itimerspec soon = {.it_value.tv_nsec = 30000000};
    char byte;
    uint64_t count;
    MUST(read(fd, &byte, 1));
    MUST(timerfd_settime(timer, 0, &soon, NULL));
    look("woken by the timer", -1);
    MUST(read(timer, &count, 8));
    pid_t child = t_fork();
    if (child == 0) {
        settle();
        _exit(write(pipes[1], "x", 1) != 1);
    }
    look("woken by the pipe", -1);
    waitpid(child, NULL, 0);
    MUST(read(pipes[0], &byte, 1));
    MUST(sendto(udp, "u", 1, 0, SA(loopback), sizeof loopback));
    look("woken by udp", -1);
    MUST(write(pipes[1], "x", 1));
    MUST(eventfd_write(event, 3));
    MUST(timerfd_settime(timer, 0, &soon, NULL));
    step("two");
    await(fd, POLLIN);
    await(timer, POLLIN);
    look("all", 0);
    struct epoll_event two[2];
    CALL(epoll_wait(epoll, two, 2, 0));
    MUST(read(event, &count, 8));
    MUST(read(udp, &byte, 1));
    look("three left", 0);
    MUST(epoll_ctl(epoll, EPOLL_CTL_DEL, pipes[0], NULL));
    close(timer);
    look("one left", 0);
    close(epoll);
}

static void passive(int fd)
{
    step("one");
    settle();
    send_all(fd, "x", 1);
    step("two");
    send_all(fd, "y", 1);
}

EACH_SIDE(active, passive)
