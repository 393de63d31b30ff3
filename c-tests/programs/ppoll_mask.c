// ppoll: its signal mask holds for the wait alone, a signal let through ends it with EINTR; wrong times and sizes.
#include "t.h"

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
    raise(SIGUSR1);
    struct pollfd one = {.fd = fd, .events = POLLIN};
    struct timespec short_time = {.tv_nsec = 50000000};
    CALL(ppoll(&one, 1, &short_time, NULL));
    say("signals %d, time left as it was: %s", (int)signals, short_time.tv_nsec == 50000000 ? "yes" : "no");
    CALL(ppoll(&one, 1, NULL, &open));
    say("signals %d", (int)signals);
    sigprocmask(SIG_BLOCK, NULL, &now);
    say("blocked again: %d", sigismember(&now, SIGUSR1));
    // What is ready is answered even though a signal is pending, which stays so.
    raise(SIGUSR1);
    one.events = POLLOUT;
    CALL(ppoll(&one, 1, NULL, &open));
    say("%s, signals %d", poll_bits(one.revents), (int)signals);
    sigprocmask(SIG_SETMASK, &open, NULL);
    say("signals %d", (int)signals);

    // Restarting is not for poll: EINTR in spite of SA_RESTART.
    one.events = POLLIN;
    pid_t child = t_fork();
    if (child == 0) {
        settle();
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    CALL(poll(&one, 1, -1));
    say("signals %d", (int)signals);
    waitpid(child, NULL, 0);
    struct timespec bad = {.tv_nsec = 1000000000};
    CALL(ppoll(&one, 1, &bad, NULL));
    bad = (struct timespec){.tv_sec = -1};
    CALL(ppoll(&one, 1, &bad, NULL));
    signal(SIGUSR1, SIG_DFL);
}

static void passive(int fd) { (void)fd; }

EACH_SIDE(active, passive)
