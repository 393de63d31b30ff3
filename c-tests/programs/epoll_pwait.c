// epoll_pwait and epoll_pwait2: the mask for the wait alone, EINTR, nanoseconds, wrong times and mask sizes.
#include "t.h"

#include <sys/syscall.h>

static volatile sig_atomic_t signals;
static void count(int number) { signals += number == SIGUSR1; }

static void active(int fd)
{
    struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    signals = 0;
    sigset_t block, open, now;
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, &open);
    int epoll = (int)MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN}, got;
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    raise(SIGUSR1);
    CALL(epoll_pwait(epoll, &got, 1, 50, NULL));
    say("signals %d", (int)signals);
    CALL(epoll_pwait(epoll, &got, 1, -1, &open));
    say("signals %d", (int)signals);
    sigprocmask(SIG_BLOCK, NULL, &now);
    say("blocked again: %d", sigismember(&now, SIGUSR1));
    struct timespec time = {.tv_nsec = 50000000};
    long begin = milliseconds();
    CALL(epoll_pwait2(epoll, &got, 1, &time, NULL));
    say("waited: %s", milliseconds() - begin >= 50 ? "yes" : "no");
    raise(SIGUSR1);
    CALL(epoll_pwait2(epoll, &got, 1, NULL, &open));
    say("signals %d", (int)signals);
    time = (struct timespec){.tv_nsec = -1};
    CALL(epoll_pwait2(epoll, &got, 1, &time, NULL));
    time = (struct timespec){0};
    CALL(epoll_pwait2(epoll, &got, 1, &time, NULL));
    sigprocmask(SIG_SETMASK, &open, NULL);
    pid_t child = t_fork();
    if (child == 0) {
        settle();
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    CALL(epoll_wait(epoll, &got, 1, -1));
    say("signals %d", (int)signals);
    waitpid(child, NULL, 0);
    step("send");
    CALL(epoll_pwait2(epoll, &got, 1, NULL, NULL));
    say("%s", epoll_bits(got.events));
    close(epoll);
    signal(SIGUSR1, SIG_DFL);
}

static void passive(int fd)
{
    step("send");
    settle();
    send_all(fd, "x", 1);
}

EACH_SIDE(active, passive)
