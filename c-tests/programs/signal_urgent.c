// SIGURG: who is the owner of a connection by fcntl() and ioctl(), process, thread and group, in whose name, and when.
#include "t.h"

#include <sys/syscall.h>

enum { AWHILE = 300 };

static sigset_t only_urgent(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGURG);
    return set;
}

// Waits for the signal, which is blocked.
static void say_signal(const char *who, int milliseconds)
{
    sigset_t set = only_urgent();
    siginfo_t info = {0};
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    int signal = sigtimedwait(&set, &info, &time);
    say("%s: %s, code %#x, from pid %d", who, signal == SIGURG ? "SIGURG" : "nothing", info.si_code, info.si_pid);
}

static void say_owner(int fd)
{
    struct f_owner_ex owner = {-1, -1};
    int by_ioctl = -1, by_socket = -1;
    int plain = fcntl(fd, F_GETOWN);
    CALL(fcntl(fd, F_GETOWN_EX, &owner));
    CALL(ioctl(fd, FIOGETOWN, &by_ioctl));
    CALL(ioctl(fd, SIOCGPGRP, &by_socket));
    bool is_us = owner.pid == getpid() || owner.pid == getpgrp();
    say("kind %d, us %d, nobody %d, group %d, alike %d", owner.type, is_us, owner.pid == 0, plain < 0,
        plain == by_ioctl && plain == by_socket);
}

// The other side sends an urgent byte; it is read away, so that the next one is news.
static void urge(int fd, const char *what, int milliseconds)
{
    char byte;
    step(what);
    say_signal(what, milliseconds);
    await(fd, POLLPRI);
    CALL(recv(fd, &byte, 1, MSG_OOB));
}

static const char *const steps[] = {"no owner", "a process", "no owner any more", "by ioctl", "by socket ioctl", "a group",
                                    "a thread", "a child", "a dead child", "in another name", "after dup and close"};
enum { STEPS = sizeof steps / sizeof *steps };

static void active(int fd)
{
    for (int i = 0; i < STEPS; i++) {
        step(steps[i]);
        CALL(send(fd, "!", 1, MSG_OOB));
    }
    step("end");
}

// A child that waits for the signal, and one that sets the owner as another user.
static pid_t waiting_child(int milliseconds)
{
    pid_t child = MUST(fork());
    if (child == 0) {
        sigset_t set = only_urgent();
        struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
        _exit(sigtimedwait(&set, NULL, &time) == SIGURG);
    }
    return child;
}

static void say_child(pid_t child)
{
    int status = 0;
    MUST(waitpid(child, &status, 0));
    say("the child got it: %d", WEXITSTATUS(status));
}

static void passive(int fd)
{
    int us = getpid(), next = 0;
    sigset_t set = only_urgent();
    MUST(sigprocmask(SIG_BLOCK, &set, NULL));
    signal(SIGURG, SIG_DFL);
    int group = -getpgrp();

    say_owner(fd);
    urge(fd, steps[next++], AWHILE);
    CALL(fcntl(fd, F_SETOWN, us));
    say_owner(fd);
    urge(fd, steps[next++], 5000);
    CALL(fcntl(fd, F_SETOWN, 0));
    say_owner(fd);
    urge(fd, steps[next++], AWHILE);
    CALL(ioctl(fd, FIOSETOWN, &us));
    say_owner(fd);
    urge(fd, steps[next++], 5000);
    CALL(ioctl(fd, SIOCSPGRP, &us));
    urge(fd, steps[next++], 5000);

    CALL(fcntl(fd, F_SETOWN, group));
    say_owner(fd);
    pid_t child = waiting_child(5000);
    urge(fd, steps[next++], 5000);
    say_child(child);

    struct f_owner_ex thread = {F_OWNER_TID, (pid_t)syscall(SYS_gettid)};
    CALL(fcntl(fd, F_SETOWN_EX, &thread));
    say_owner(fd);
    urge(fd, steps[next++], 5000);

    child = waiting_child(5000);
    MUST(fcntl(fd, F_SETOWN, child));
    urge(fd, steps[next++], AWHILE);
    say_child(child);
    say_owner(fd);
    urge(fd, steps[next++], AWHILE);

    // Who sets the owner must be allowed to signal him.
    child = MUST(fork());
    if (child == 0)
        _exit(setuid(65534) == 0 && fcntl(fd, F_SETOWN, us) == 0 ? 0 : 1);
    say_child(child);
    say_owner(fd);
    urge(fd, steps[next++], AWHILE);

    MUST(fcntl(fd, F_SETOWN, us));
    int copy = OPEN(dup(fd));
    MUST(close(fd));
    urge(copy, steps[next++], 5000);
    MUST(dup2(copy, fd));
    step("end");
}

// The owner that a socket has before it is connected, it has afterwards.
void server(void)
{
    each_side(active, passive);
    int listening = listener(1, 5);
    step("listening");
    int fd = accept_one(listening);
    step("owned before connect");
    CALL(send(fd, "!", 1, MSG_OOB));
    step("end");
}

void client(void)
{
    sigset_t set = only_urgent();
    struct sockaddr_in to = server_at(1);
    each_side(active, passive);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL));
    int fd = tcp_socket();
    CALL(fcntl(fd, F_SETOWN, getpid()));
    step("listening");
    MUST(connect(fd, SA(to), sizeof to));
    say_owner(fd);
    urge(fd, "owned before connect", 5000);
    step("end");
}
