// A program killed by SIGKILL in the middle of a transfer: its peer sees the end at once, and others go on.
#include "t.h"

static void active(int fd)
{
    int other = connected();
    pid_t child = t_fork();
    if (child == 0) {
        static char much[65536];
        for (;;)
            send_all(fd, much, sizeof much);
    }
    close(fd);
    step("flowing");
    kill(child, SIGKILL);
    reap("sender", child);
    step("killed");
    CALL(send(other, "undisturbed", 11, 0));
    close(other);
}

static void passive(int fd)
{
    static char much[65536];
    int other = connected();
    for (int i = 0; i < 100; i++)
        receive_all(fd, much, sizeof much);
    step("flowing");
    step("killed");
    long begin = milliseconds(), now;
    while ((now = recv(fd, much, sizeof much, 0)) > 0)
        ;
    // In order, or by a reset if death came while the connection was being changed.
    say("end: %s", now == 0 || errno == ECONNRESET ? "yes" : error_name(errno));
    say("within a second: %s", milliseconds() - begin < 1000 ? "yes" : "no");
    GOT(recv(other, much, 11, MSG_WAITALL), much);
    close(other);
}

EACH_SIDE(active, passive)
