// A listener in an edge-triggered epoll, as servers use it: accept until EAGAIN, serve in the same loop.
#include "t.h"

enum { CLIENTS = 10 };

void server(void)
{
    int listening = listener(0, 64), epoll = (int)MUST(epoll_create1(0));
    set_nonblocking(listening, true);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = listening}, got[4];
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event));
    step("listening");
    int accepted = 0, served = 0, ended = 0;
    while (ended < CLIENTS) {
        int ready = epoll_wait(epoll, got, 4, 10000);
        if (ready < 1)
            die("nothing came: accepted %d, served %d, ended %d", accepted, served, ended);
        for (int i = 0; i < ready; i++) {
            int fd = got[i].data.fd;
            if (fd == listening) {
                while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    event = (struct epoll_event){.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd};
                    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
                    accepted++;
                }
                if (errno != EAGAIN)
                    say("accept: %s", error_name(errno));
                continue;
            }
            char text[100];
            ssize_t length;
            while ((length = read(fd, text, sizeof text)) > 0) {
                served++;
                send_all(fd, text, (size_t)length);
            }
            if (length == 0) {
                ended++;
                close(fd);
            }
        }
    }
    say("accepted %d, served %d, ended %d", accepted, served, ended);
}

void client(void)
{
    int all[CLIENTS];
    step("listening");
    for (int i = 0; i < CLIENTS; i++)
        all[i] = connect_to(0);
    for (int i = 0; i < CLIENTS; i++) {
        char text[8];
        snprintf(text, sizeof text, "echo %d", i);
        send_all(all[i], text, 6);
        receive_all(all[i], text, 6);
        say_bytes("back", text, 6);
    }
    for (int i = 0; i < CLIENTS; i++)
        close(all[i]);
}
