// Urgent data: MSG_OOB both ways, SO_OOBINLINE, SIOCATMARK and sockatmark(), FIONREAD, poll, select and epoll.
#include "t.h"

static void say_marks(int fd)
{
    int at_mark = -1, queued = -1;
    CALL(ioctl(fd, SIOCATMARK, &at_mark));
    say("at mark %d", at_mark);
    CALL(sockatmark(fd));
    CALL(ioctl(fd, FIONREAD, &queued));
    say("queued %d", queued);
}

static void say_ready(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLPRI | POLLRDBAND};
    struct timeval now = {0, 0};
    struct epoll_event event = {.events = EPOLLIN | EPOLLPRI};
    fd_set in, exceptional;
    FD_ZERO(&in);
    FD_ZERO(&exceptional);
    FD_SET(fd, &in);
    FD_SET(fd, &exceptional);
    CALL(poll(&one, 1, 0));
    say("revents %#x", one.revents);
    CALL(select(fd + 1, &in, NULL, &exceptional, &now));
    say("in %d, exceptional %d", FD_ISSET(fd, &in), FD_ISSET(fd, &exceptional));
    int set = epoll_create1(0);
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    event.events = 0;
    CALL(epoll_wait(set, &event, 1, 0));
    say("events %#x", event.events);
    close(set);
}

static void active(int fd)
{
    step("nothing");
    CALL(send(fd, "ab!", 3, MSG_OOB));
    step("first");
    CALL(send(fd, "cd", 2, 0));
    step("more");
    step("read");
    CALL(send(fd, "ef?", 3, MSG_OOB));
    CALL(send(fd, "gh", 2, 0));
    step("inline");
    step("all read");
    CALL(send(fd, "x", 1, MSG_OOB));
    step("alone");
    step("last");
    CALL(shutdown(fd, SHUT_WR));
}

static void passive(int fd)
{
    char text[64];
    int on = 1, off = 0;
    struct iovec piece = {text, sizeof text};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    CALL(recv(fd, text, sizeof text, MSG_OOB));
    say_ready(fd);
    say_marks(fd);
    step("nothing");
    step("first");
    await(fd, POLLPRI);
    say_ready(fd);
    say_marks(fd);
    GOT(recv(fd, text, sizeof text, MSG_OOB | MSG_PEEK), text);
    step("more");
    GOT(recv(fd, text, 1, 0), text);
    say_marks(fd);
    GOT(recv(fd, text, sizeof text, MSG_WAITALL), text);
    say_marks(fd);
    GOT(recvmsg(fd, &message, MSG_OOB), text);
    say("flags %#x", message.msg_flags);
    CALL(recv(fd, text, sizeof text, MSG_OOB));
    say_marks(fd);
    GOT(recv(fd, text, 2, MSG_WAITALL), text);
    say_marks(fd);
    CALL(recv(fd, text, sizeof text, MSG_DONTWAIT));
    CALL(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
    step("read");
    step("inline");
    await_queued(fd, 5);
    say_ready(fd);
    CALL(recv(fd, text, sizeof text, MSG_OOB));
    GOT(recv(fd, text, sizeof text, 0), text);
    say_marks(fd);
    GOT(recv(fd, text, sizeof text, 0), text);
    say_marks(fd);
    CALL(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &off, sizeof off));
    step("all read");
    step("alone");
    await(fd, POLLPRI);
    say_ready(fd);
    say_marks(fd);
    CALL(recv(fd, text, sizeof text, MSG_DONTWAIT));
    CALL(recv(fd, text, sizeof text, MSG_OOB));
    step("last");
    await(fd, POLLIN);
    CALL(recv(fd, text, sizeof text, 0));
}

EACH_SIDE(active, passive)
