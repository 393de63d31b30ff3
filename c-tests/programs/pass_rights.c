// SCM_RIGHTS: a connection is handed to another process over AF_UNIX, and goes on there after the first one closed it.
#include "t.h"

static void pass(int over, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec piece = {"!", 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(header), &fd, sizeof(int));
    CALL(sendmsg(over, &message, 0));
}

static int take(int over)
{
    char control[CMSG_SPACE(sizeof(int))], byte;
    struct iovec piece = {&byte, 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    CALL(recvmsg(over, &message, 0));
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
    return fd;
}

static void active(int fd)
{
    int pair[2];
    char text[8];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    pid_t child = t_fork();
    if (child == 0) {
        close(fd);
        int mine = take(pair[1]);
        GOT(recv(mine, text, 2, MSG_WAITALL), text);
        CALL(send(mine, "from the taker", 14, 0));
        _exit(0);
    }
    pass(pair[0], fd);
    CALL(close(fd));
    close(pair[0]);
    close(pair[1]);
    step("handed over");
    reap("taker", child);
}

static void passive(int fd)
{
    char text[16];
    step("handed over");
    CALL(send(fd, "go", 2, 0));
    GOT(recv(fd, text, 14, MSG_WAITALL), text);
    CALL(recv(fd, text, 1, 0));
}

EACH_SIDE(active, passive)
