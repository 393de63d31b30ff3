// pselect: the mask holds for the wait alone, EINTR leaves the sets as they were, and the time is not changed.
#include "t.h"

static volatile sig_atomic_t signals;
static void count(int number) { signals += number == SIGUSR1; }

static void active(int fd)
{
    struct sigaction action = {.sa_handler = count};
    sigaction(SIGUSR1, &action, NULL);
    signals = 0;
    sigset_t block, open, now;
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, &open);
    raise(SIGUSR1);
    fd_set in;
    FD_ZERO(&in);
    FD_SET(fd, &in);
    struct timespec time = {.tv_nsec = 50000000};
    CALL(pselect(fd + 1, &in, NULL, NULL, &time, NULL));
    say("signals %d, set %d, time left as it was: %s", (int)signals, FD_ISSET(fd, &in), time.tv_nsec == 50000000 ? "yes" : "no");
    FD_SET(fd, &in);
    CALL(pselect(fd + 1, &in, NULL, NULL, NULL, &open));
    say("signals %d, set %d", (int)signals, FD_ISSET(fd, &in));
    sigprocmask(SIG_BLOCK, NULL, &now);
    say("blocked again: %d", sigismember(&now, SIGUSR1));
    sigprocmask(SIG_SETMASK, &open, NULL);

    pid_t child = t_fork();
    if (child == 0) {
        settle();
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    struct timeval long_time = {.tv_sec = 9};
    CALL(select(fd + 1, &in, NULL, NULL, &long_time));
    say("signals %d, set %d", (int)signals, FD_ISSET(fd, &in));
    waitpid(child, NULL, 0);
    struct timespec bad = {.tv_nsec = -1};
    CALL(pselect(fd + 1, &in, NULL, NULL, &bad, NULL));
    signal(SIGUSR1, SIG_DFL);
}

static void passive(int fd) { (void)fd; }

EACH_SIDE(active, passive)
