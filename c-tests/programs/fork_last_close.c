// The last of several processes that closes the socket ends the connection; by exit, by close and by SIGKILL.
#include "t.h"

static void ended_by(const char *how, int fd, void (*finish)(int fd))
{
    pid_t children[3];
    int gate[2];
    MUST(pipe(gate));
    for (int i = 0; i < 3; i++) {
        children[i] = t_fork();
        if (children[i] != 0)
            continue;
        char byte;
        close(gate[1]);
        if (i == 2 && read(gate[0], &byte, 1) < 0) // the last one waits until it is told
            _exit(1);
        finish(fd);
    }
    close(gate[0]);
    CALL(close(fd));
    for (int i = 0; i < 2; i++)
        reap(how, children[i]);
    step("two are gone");
    step("not ended yet");
    close(gate[1]);
    reap(how, children[2]);
    step("all are gone");
}

static void by_exit(int fd)
{
    (void)fd;
    _exit(0);
}

static void by_close(int fd)
{
    close(fd);
    usleep(20000);
    _exit(0);
}

static void by_kill(int fd)
{
    (void)fd;
    raise(SIGKILL);
}

static void active(int fd)
{
    ended_by("by exit", fd, by_exit);
    ended_by("by close", connected(), by_close);
    ended_by("by SIGKILL", connected(), by_kill);
}

static void look(int fd)
{
    char byte;
    step("two are gone");
    settle();
    CALL(recv(fd, &byte, 1, MSG_DONTWAIT));
    step("not ended yet");
    step("all are gone");
    CALL(recv(fd, &byte, 1, 0));
}

static void passive(int fd)
{
    look(fd);
    int other = connected();
    look(other);
    close(other);
    other = connected();
    look(other);
    close(other);
}

EACH_SIDE(active, passive)
