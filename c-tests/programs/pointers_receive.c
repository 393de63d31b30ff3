// Receiving into bad memory: NULL, unmapped, read-only, ending in the middle; what is answered and what stays queued.
#include "t.h"

static void say_queued(int fd)
{
    int queued = -1;
    ioctl(fd, FIONREAD, &queued);
    say("  queued %d", queued);
}

static void active(int fd)
{
    char *edge = edge_of_memory(), text[16];
    char *fixed = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CALL(recv(fd, null_pointer, 10, MSG_DONTWAIT));
    step("send");
    await_queued(fd, 20);
    CALL(recv(fd, null_pointer, 10, 0));
    say_queued(fd);
    CALL(read(fd, low_pointer, 10));
    say_queued(fd);
    CALL(recv(fd, fixed, 10, 0));
    say_queued(fd);
    CALL(recv(fd, edge, 10, 0));
    say_queued(fd);
    CALL(recv(fd, null_pointer, 5, MSG_PEEK));
    say_queued(fd);
    CALL(recv(fd, edge - 4, 8, 0));
    say_queued(fd);
    GOT(recv(fd, text, 2, 0), text);
    say_queued(fd);
    struct iovec pieces[3] = {{text, 2}, {null_pointer, 4}, {text + 2, 2}};
    CALL(readv(fd, pieces, 3));
    say_queued(fd);
    CALL(recvmsg(fd, &(struct msghdr){.msg_iov = pieces + 1, .msg_iovlen = 1}, 0));
    say_queued(fd);
    socklen_t length = 16;
    CALL(recvfrom(fd, text, 1, 0, low_pointer, &length));
    say_queued(fd);
    CALL(recvfrom(fd, text, 1, 0, (struct sockaddr *)text, low_pointer));
    say_queued(fd);
    GOT(recv(fd, text, sizeof text, MSG_DONTWAIT), text);
    say_queued(fd);
}

static void passive(int fd)
{
    step("send");
    send_all(fd, "abcdefghijklmnopqrst", 20);
}

EACH_SIDE(active, passive)
