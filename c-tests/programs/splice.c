// splice between a pipe and a socket in both directions, its flags, its end and its errors.
#include "t.h"

static void active(int fd)
{
    int pipes[2];
    MUST(pipe(pipes));
    MUST(write(pipes[1], "through the pipe", 16));
    CALL(splice(pipes[0], NULL, fd, NULL, 7, 0));
    CALL(splice(pipes[0], NULL, fd, NULL, 100, SPLICE_F_MOVE | SPLICE_F_MORE));
    CALL(splice(pipes[0], NULL, fd, NULL, 100, SPLICE_F_NONBLOCK));
    MUST(write(pipes[1], "!", 1));
    CALL(splice(pipes[0], NULL, fd, NULL, 0, 0));
    CALL(splice(pipes[0], NULL, fd, NULL, 1, 0));
    loff_t offset = 0;
    CALL(splice(pipes[0], NULL, fd, &offset, 1, 0));
    int other = tcp_socket();
    CALL(splice(fd, NULL, other, NULL, 1, 0));
    CALL(splice(fd, NULL, -1, NULL, 1, 0));
    CALL(shutdown(fd, SHUT_WR));
}

static void passive(int fd)
{
    int pipes[2];
    char text[64];
    MUST(pipe(pipes));
    await_queued(fd, 17);
    CALL(splice(fd, NULL, pipes[1], NULL, 5, 0));
    GOT(read(pipes[0], text, sizeof text), text);
    size_t used = 0;
    while (used < 12)
        used += (size_t)MUST(splice(fd, NULL, pipes[1], NULL, 12 - used, SPLICE_F_MOVE));
    GOT(read(pipes[0], text, sizeof text), text);
    await(fd, POLLIN);
    CALL(splice(fd, NULL, pipes[1], NULL, 5, 0));
    CALL(splice(fd, NULL, pipes[0], NULL, 5, 0));
}

EACH_SIDE(active, passive)
