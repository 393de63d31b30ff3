// A master that listens, forks a worker and stays out of it, as nginx does; the next worker takes over from a dead one.
#include "t.h"

static _Noreturn void work(int listening)
{
    int epoll = (int)MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN}, got;
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event));
    set_nonblocking(listening, true);
    for (;;) {
        MUST(epoll_wait(epoll, &got, 1, -1));
        int fd = accept(listening, NULL, NULL);
        if (fd < 0)
            continue;
        char text[5];
        receive_all(fd, text, 5);
        send_all(fd, text, 5);
        if (memcmp(text, "crash", 5) == 0)
            raise(SIGKILL);
        close(fd);
    }
}

void server(void)
{
    int listening = listener(0, 64);
    pid_t worker = t_fork();
    if (worker == 0)
        work(listening);
    step("first worker");
    reap("first worker", worker);
    worker = t_fork();
    if (worker == 0)
        work(listening);
    step("second worker");
    reap("second worker", worker);
    CALL(close(listening));
    step("gone");
}

static void ask(const char *question)
{
    int fd = connect_to(0);
    char text[8];
    send_all(fd, question, 5);
    GOT(recv(fd, text, 5, MSG_WAITALL), text);
    CALL(recv(fd, text, 1, 0));
    close(fd);
}

void client(void)
{
    step("first worker");
    ask("hello");
    ask("crash");
    step("second worker");
    ask("again");
    ask("crash");
    step("gone");
    settle();
    int late = tcp_socket();
    struct sockaddr_in address = server_at(0);
    CALL(connect(late, SA(address), sizeof address));
}
