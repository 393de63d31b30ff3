// Threads cancelled in recv, accept, poll and epoll_wait end there, and the sockets work on for the others.
#include "t.h"

static int socket_, listening_, epoll_;

static void *in_recv(void *unused)
{
    char byte;
    recv(socket_, &byte, 1, 0);
    return unused;
}

static void *in_accept(void *unused)
{
    accept(listening_, NULL, NULL);
    return unused;
}

static void *in_poll(void *unused)
{
    struct pollfd one = {.fd = socket_, .events = POLLIN};
    poll(&one, 1, -1);
    return unused;
}

static void *in_epoll(void *unused)
{
    struct epoll_event got;
    epoll_wait(epoll_, &got, 1, -1);
    return unused;
}

static void cancel_in(const char *what, void *(*sleeper)(void *))
{
    pthread_t thread;
    void *result = NULL;
    pthread_create(&thread, NULL, sleeper, NULL);
    settle();
    pthread_cancel(thread);
    pthread_join(thread, &result);
    say("%s: %s", what, result == PTHREAD_CANCELED ? "cancelled" : "came back");
}

static void active(int fd)
{
    socket_ = fd;
    listening_ = tcp_socket();
    MUST(listen(listening_, 1));
    epoll_ = (int)MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN};
    MUST(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event));
    for (int i = 0; i < 2; i++) {
        cancel_in("recv", in_recv);
        cancel_in("accept", in_accept);
        cancel_in("poll", in_poll);
        cancel_in("epoll_wait", in_epoll);
    }
    char text[8];
    step("cancelled");
    CALL(epoll_wait(epoll_, &event, 1, 10000));
    GOT(recv(fd, text, 4, MSG_WAITALL), text);
    CALL(send(fd, "fine", 4, 0));
    close(epoll_);
    close(listening_);
}

static void passive(int fd)
{
    char text[8];
    step("cancelled");
    CALL(send(fd, "well", 4, 0));
    GOT(recv(fd, text, 4, MSG_WAITALL), text);
}

EACH_SIDE(active, passive)
