// poll's arguments: negative and closed descriptors, doubles, none, too many, bad pointers, timeouts, mixed kinds.
#include "t.h"

#include <sys/eventfd.h>
#include <sys/resource.h>

static void active(int fd)
{
    int pipes[2];
    MUST(pipe(pipes));
    int events = (int)MUST(eventfd(0, 0));
    int closed = (int)MUST(dup(fd));
    close(closed);
    struct pollfd set[] = {
        {.fd = -1, .events = POLLIN, .revents = 77}, {.fd = closed, .events = POLLIN}, {.fd = fd, .events = POLLIN | POLLOUT},
        {.fd = fd, .events = POLLIN},                {.fd = fd, .events = POLLOUT},    {.fd = pipes[0], .events = POLLIN},
        {.fd = pipes[1], .events = POLLOUT},         {.fd = events, .events = POLLIN | POLLOUT},
    };
    enum { COUNT = sizeof set / sizeof *set };
    CALL(poll(set, COUNT, -1));
    for (int i = 0; i < COUNT; i++)
        say("  %d: %s", i, poll_bits(set[i].revents));
    MUST(write(pipes[1], "x", 1));
    MUST(eventfd_write(events, 1));
    step("send");
    await_queued(fd, 1);
    CALL(poll(set, COUNT, 0));
    for (int i = 0; i < COUNT; i++)
        say("  %d: %s", i, poll_bits(set[i].revents));

    char byte;
    MUST(read(fd, &byte, 1));
    struct pollfd one = {.fd = fd, .events = POLLIN};
    long begin = milliseconds();
    CALL(poll(&one, 1, 120));
    say("waited: %s", milliseconds() - begin >= 120 ? "yes" : "no");
    begin = milliseconds();
    CALL(poll(NULL, 0, 50));
    say("waited: %s", milliseconds() - begin >= 50 ? "yes" : "no");
    CALL(poll(NULL, 0, 0));
    one.fd = -7;
    CALL(poll(&one, 1, 10));
    CALL(poll(null_pointer, 1, 0));
    CALL(poll((struct pollfd *)edge_of_memory() - 1, 2, 0));
    // A set that may be read but not answered.
    struct pollfd *fixed = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CALL(poll(fixed, 1, 0));
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    CALL(poll(&one, limit.rlim_cur + 1, 0));
    CALL(poll(&one, (nfds_t)minus_one, 0));
}

static void passive(int fd)
{
    step("send");
    send_all(fd, "x", 1);
}

EACH_SIDE(active, passive)
