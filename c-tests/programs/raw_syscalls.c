// Socket calls made through syscall(2), as some run-times do, mean the same as those made through libc.
#include "t.h"

#include <sys/syscall.h>

static void active(int fd)
{
    char text[16];
    struct iovec piece = {"vector", 6};
    CALL(syscall(SYS_write, fd, "raw ", 4));
    CALL(syscall(SYS_sendto, fd, "bytes ", 6, MSG_NOSIGNAL, NULL, 0));
    CALL(syscall(SYS_writev, fd, &piece, 1));
    step("sent");
    step("answered");
    await_queued(fd, 10);
    GOT(syscall(SYS_read, fd, text, 4), text);
    GOT(syscall(SYS_recvfrom, fd, text, sizeof text, MSG_DONTWAIT, NULL, NULL), text);
    CALL(syscall(SYS_recvfrom, fd, text, sizeof text, MSG_DONTWAIT, NULL, NULL));
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT};
    CALL(syscall(SYS_poll, &one, 1, 0));
    say("%s", poll_bits(one.revents));
    CALL(syscall(SYS_shutdown, fd, SHUT_WR));
    CALL(syscall(SYS_write, -1, "x", 1));
    CALL(syscall(99999));
    say("same process: %s", syscall(SYS_getpid) == getpid() ? "yes" : "no");
    CALL(syscall(SYS_close, fd));
    step("closed");
}

static void passive(int fd)
{
    char text[32];
    step("sent");
    GOT(recv(fd, text, 16, MSG_WAITALL), text);
    send_all(fd, "and back..", 10);
    step("answered");
    step("closed");
    CALL(recv(fd, text, 1, 0));
}

EACH_SIDE(active, passive)
