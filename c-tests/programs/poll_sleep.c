// A sleeping poll is woken by whatever comes first: data on either of two sockets, a pipe, room to send, the end.
#include "t.h"

static void active(int fd)
{
    int other = connected(), pipes[2];
    MUST(pipe(pipes));
    struct pollfd set[3] = {{.fd = fd, .events = POLLIN}, {.fd = other, .events = POLLIN}, {.fd = pipes[0], .events = POLLIN}};
    char text[8];
    step("sleeping 1");
    CALL(poll(set, 3, -1));
    say("%s", poll_bits(set[0].revents));
    GOT(read(fd, text, sizeof text), text);
    step("sleeping 2");
    CALL(poll(set, 3, 10000));
    say("%s", poll_bits(set[1].revents));
    GOT(read(other, text, sizeof text), text);

    pid_t child = t_fork();
    if (child == 0) {
        settle();
        _exit(write(pipes[1], "pipe", 4) != 4);
    }
    CALL(poll(set, 3, -1));
    say("%s", poll_bits(set[2].revents));
    GOT(read(pipes[0], text, sizeof text), text);
    waitpid(child, NULL, 0);

    set_nonblocking(fd, true);
    static char much[100000];
    long sent = 0, now;
    while ((now = send(fd, much, sizeof much, 0)) > 0)
        sent += now;
    while (poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 200) == 1)
        while ((now = send(fd, much, sizeof much, 0)) > 0)
            sent += now;
    set[0].events = POLLOUT;
    tell(sent);
    CALL(poll(set, 3, -1));
    say("%s", poll_bits(set[0].revents));
    step("drained");
    set[0].events = POLLIN;
    CALL(poll(set, 3, -1));
    say("%s", poll_bits(set[1].revents));
    step("over");
    close(other);
}

static void passive(int fd)
{
    int other = connected();
    step("sleeping 1");
    settle();
    send_all(fd, "first", 5);
    step("sleeping 2");
    settle();
    send_all(other, "second", 6);
    long left = hear();
    settle();
    static char much[100000];
    while (left > 0)
        left -= MUST(recv(fd, much, left < (long)sizeof much ? (size_t)left : sizeof much, 0));
    step("drained");
    settle();
    close(other);
    step("over");
}

EACH_SIDE(active, passive)
