// epoll's errors: EEXIST, ENOENT, EPERM, EBADF, EINVAL, EFAULT, ELOOP, wrong sizes, and itself.
#include "t.h"

static void active(int fd)
{
    CALL(epoll_create(0));
    CALL(epoll_create(-1));
    CALL(epoll_create1(7));
    int epoll = OPEN(epoll_create(1));
    say("close-on-exec %d", fcntl(epoll, F_GETFD));
    int with_flag = OPEN(epoll_create1(EPOLL_CLOEXEC));
    say("close-on-exec %d", fcntl(with_flag, F_GETFD));
    struct epoll_event event = {.events = EPOLLIN}, events[4];
    CALL(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
    CALL(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event));
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, null_pointer));
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    CALL(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, null_pointer));
    CALL(epoll_ctl(epoll, 77, fd, &event));
    int twin = (int)MUST(dup(fd));
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, twin, &event));
    CALL(epoll_ctl(epoll, EPOLL_CTL_DEL, twin, null_pointer));
    CALL(epoll_ctl(epoll, EPOLL_CTL_DEL, twin, null_pointer));
    close(twin);
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, twin, &event));
    CALL(epoll_ctl(-1, EPOLL_CTL_ADD, fd, &event));
    CALL(epoll_ctl(fd, EPOLL_CTL_ADD, fd, &event));
    CALL(epoll_ctl(fd, EPOLL_CTL_ADD, epoll, &event));
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &event));
    int file = (int)MUST(open("/proc/self/exe", O_RDONLY));
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, file, &event));
    CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, with_flag, &event));
    CALL(epoll_ctl(with_flag, EPOLL_CTL_ADD, epoll, &event));
    // Chains of epolls may be five deep.
    int chain = epoll;
    for (int i = 0; i < 6; i++) {
        int next = (int)MUST(epoll_create1(0));
        CALL(epoll_ctl(next, EPOLL_CTL_ADD, chain, &event));
        chain = next;
    }

    CALL(epoll_wait(epoll, events, 0, 0));
    CALL(epoll_wait(epoll, events, minus_one, 0));
    CALL(epoll_wait(fd, events, 4, 0));
    CALL(epoll_wait(-1, events, 4, 0));
    CALL(epoll_wait(epoll, null_pointer, 4, 0));
    step("data");
    await(fd, POLLIN);
    CALL(epoll_wait(epoll, null_pointer, 4, 0));
    CALL(epoll_wait(epoll, (void *)(edge_of_memory() - 4), 4, 0));
    CALL(epoll_wait(epoll, events, 4, 0));
    CALL(read(epoll, events, 1));
    CALL(write(epoll, events, 1));
}

static void passive(int fd)
{
    step("data");
    send_all(fd, "x", 1);
}

EACH_SIDE(active, passive)
