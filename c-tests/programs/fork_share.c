// After fork both processes use the same socket: what one reads the other does not, and both may write.
#include "t.h"

static void active(int fd)
{
    char text[16];
    pid_t child = t_fork();
    if (child == 0) {
        GOT(recv(fd, text, 5, MSG_WAITALL), text);
        CALL(send(fd, "from the child ", 15, 0));
        set_nonblocking(fd, true);
        _exit(0);
    }
    reap("child", child);
    GOT(recv(fd, text, 6, MSG_WAITALL), text);
    CALL(send(fd, "from the parent", 15, 0));
    say("O_NONBLOCK set by the child: %d", !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    CALL(recv(fd, text, 1, 0));
    set_nonblocking(fd, false);

    // The other way round: the parent's end comes first, the child goes on.
    child = t_fork();
    if (child == 0) {
        step("again");
        GOT(recv(fd, text, 5, MSG_WAITALL), text);
        CALL(send(fd, "child", 5, 0));
        _exit(0);
    }
    CALL(close(fd));
    reap("child", child);
}

static void passive(int fd)
{
    char text[40];
    CALL(send(fd, "firstsecond", 11, 0));
    GOT(recv(fd, text, 30, MSG_WAITALL), text);
    CALL(recv(fd, text, 1, MSG_DONTWAIT));
    step("again");
    CALL(send(fd, "third", 5, 0));
    GOT(recv(fd, text, 5, MSG_WAITALL), text);
    CALL(recv(fd, text, 1, 0));
}

EACH_SIDE(active, passive)
