// exec keeps a connection and a listener that are not close-on-exec; the new image reads and writes on; others close.
#include "t.h"

enum { KEPT = 30 };

void extra(void)
{
    char text[16];
    say("descriptor kept: %s", fcntl(KEPT, F_GETFL) >= 0 ? "yes" : "no");
    GOT(recv(KEPT, text, 6, MSG_WAITALL), text);
    CALL(send(KEPT, "after", 5, 0));
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    CALL(getpeername(KEPT, SA(peer), &length));
}

static void active(int fd)
{
    int other = connected(); // close-on-exec
    MUST(fcntl(other, F_SETFD, FD_CLOEXEC));
    pid_t child = t_fork();
    if (child == 0) {
        MUST(dup2(fd, KEPT));
        CALL(send(fd, "before", 6, 0));
        close(fd);
        execl("/proc/self/exe", "exec", "extra", (char *)NULL);
        die("execl: %s", error_name(errno));
    }
    close(fd);
    close(other);
    reap("child", child);
}

static void passive(int fd)
{
    int other = connected();
    char text[16];
    GOT(recv(fd, text, 6, MSG_WAITALL), text);
    CALL(recv(other, text, 1, 0));
    CALL(send(fd, "inside", 6, 0));
    GOT(recv(fd, text, 5, MSG_WAITALL), text);
    CALL(recv(fd, text, 1, 0));
    close(other);
}

EACH_SIDE(active, passive)
