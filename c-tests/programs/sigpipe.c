// SIGPIPE ends a program by default, is counted by a handler, can be ignored, and MSG_NOSIGNAL holds it back.
#include "t.h"

static volatile sig_atomic_t caught;
static void count(int number) { caught += number == SIGPIPE; }

static void active(int fd)
{
    signal(SIGPIPE, SIG_DFL);
    MUST(shutdown(fd, SHUT_WR));
    pid_t child = t_fork();
    if (child == 0) {
        CALL(send(fd, "x", 1, MSG_NOSIGNAL));
        CALL(write(fd, "x", 1));
        _exit(0);
    }
    reap("child", child);

    struct iovec piece = {"x", 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    signal(SIGPIPE, count);
    CALL(write(fd, "x", 1));
    CALL(writev(fd, &piece, 1));
    CALL(sendmsg(fd, &message, 0));
    CALL(sendto(fd, "x", 1, 0, NULL, 0));
    say("caught %d", (int)caught);
    CALL(sendmsg(fd, &message, MSG_NOSIGNAL));
    say("caught %d", (int)caught);
    signal(SIGPIPE, SIG_IGN);
    CALL(write(fd, "x", 1));
    say("caught %d", (int)caught);

    // A blocked signal stays pending until it is let through.
    signal(SIGPIPE, count);
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CALL(write(fd, "x", 1));
    sigpending(&pending);
    say("pending %d, caught %d", sigismember(&pending, SIGPIPE), (int)caught);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    say("caught %d", (int)caught);
    caught = 0;
    int fresh = tcp_socket();
    CALL(write(fresh, "x", 1));
    say("caught %d", (int)caught);
}

static void passive(int fd)
{
    char byte;
    CALL(recv(fd, &byte, 1, 0));
}

EACH_SIDE(active, passive)
