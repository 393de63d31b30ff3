// ioctl: FIONBIO, FIONREAD, SIOCOUTQ, FIOCLEX in every state, wrong requests and pointers.
#include "t.h"

#include <linux/sockios.h>

static void active(int fd)
{
    int value = 77, on = 1, off = 0;
    char text[8];
    CALL(ioctl(fd, FIONREAD, &value));
    say("queued %d", value);
    CALL(ioctl(fd, SIOCOUTQ, &value));
    say("unsent %d", value);
    CALL(ioctl(fd, FIONBIO, &on));
    say("O_NONBLOCK %d", !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    CALL(recv(fd, text, 1, 0));
    CALL(ioctl(fd, FIONBIO, &off));
    say("O_NONBLOCK %d", !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    CALL(ioctl(fd, FIOCLEX));
    say("FD_CLOEXEC %d", fcntl(fd, F_GETFD));
    CALL(ioctl(fd, FIONCLEX));
    say("FD_CLOEXEC %d", fcntl(fd, F_GETFD));
    step("send");
    await_queued(fd, 5);
    CALL(ioctl(fd, SIOCINQ, &value));
    say("queued %d", value);
    MUST(read(fd, text, 2));
    CALL(ioctl(fd, FIONREAD, &value));
    say("queued %d", value);
    CALL(ioctl(fd, FIONREAD, null_pointer));
    CALL(ioctl(fd, FIONBIO, null_pointer));
    CALL(ioctl(fd, SIOCOUTQ, (void *)8));
    CALL(ioctl(fd, 0xdeadbeef, &value));
    CALL(ioctl(fd, TCGETS, text));
    CALL(isatty(fd));
    CALL(ioctl(-1, FIONREAD, &value));
    CALL(ioctl(-1, FIONBIO, &on));
    send_all(fd, "abc", 3);
    await_acknowledged(fd);
    CALL(ioctl(fd, SIOCOUTQ, &value));
    say("unsent %d", value);
    step("shut");
    await(fd, POLLRDHUP);
    CALL(ioctl(fd, FIONREAD, &value));
    say("queued %d", value);

    int other = tcp_socket();
    CALL(ioctl(other, FIONREAD, &value));
    say("queued %d", value);
    CALL(ioctl(other, SIOCOUTQ, &value));
    say("unsent %d", value);
    MUST(listen(other, 1));
    CALL(ioctl(other, FIONREAD, &value));
    CALL(ioctl(other, SIOCOUTQ, &value));
    CALL(ioctl(other, FIONBIO, &on));
    CALL(accept(other, NULL, NULL));
}

static void passive(int fd)
{
    step("send");
    send_all(fd, "12345", 5);
    step("shut");
    MUST(shutdown(fd, SHUT_WR));
}

EACH_SIDE(active, passive)
