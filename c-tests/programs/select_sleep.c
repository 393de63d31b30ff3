// A sleeping select wakes for a socket, for a pipe, at the highest descriptor a set can hold, and for writing.
#include "t.h"

static void active(int fd)
{
    int pipes[2];
    char text[8];
    MUST(pipe(pipes));
    int highest = FD_SETSIZE - 1;
    MUST(dup2(fd, highest));
    fd_set in;
    FD_ZERO(&in);
    FD_SET(pipes[0], &in);
    FD_SET(highest, &in);
    step("sleeping");
    CALL(select(FD_SETSIZE, &in, NULL, NULL, NULL));
    say("socket %d, pipe %d", FD_ISSET(highest, &in), FD_ISSET(pipes[0], &in));
    GOT(read(fd, text, sizeof text), text);
    FD_SET(pipes[0], &in);
    FD_SET(fd, &in);
    pid_t child = t_fork();
    if (child == 0) {
        settle();
        _exit(write(pipes[1], "x", 1) != 1);
    }
    CALL(select(FD_SETSIZE, &in, NULL, NULL, NULL));
    say("socket %d, pipe %d", FD_ISSET(highest, &in), FD_ISSET(pipes[0], &in));
    waitpid(child, NULL, 0);
    MUST(read(pipes[0], text, 1));

    // More descriptors than an fd_set was made for: programs that know what they do allocate larger sets.
    int beyond = 3000;
    MUST(dup2(fd, beyond));
    unsigned long *large = calloc(4096 / 8, 1);
    large[beyond / 64] = 1ul << (beyond % 64);
    step("again");
    CALL(select(beyond + 1, (fd_set *)large, NULL, NULL, NULL));
    say("beyond: %d", (int)(large[beyond / 64] >> (beyond % 64) & 1));
    GOT(read(beyond, text, sizeof text), text);
    close(beyond);
    close(highest);
}

static void passive(int fd)
{
    step("sleeping");
    settle();
    send_all(fd, "first", 5);
    step("again");
    settle();
    send_all(fd, "second", 6);
}

EACH_SIDE(active, passive)
