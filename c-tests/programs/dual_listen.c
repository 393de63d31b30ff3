// One listener on all addresses serves a client over the device and plain kernel clients of its own machine together,
// whether it waits in poll, epoll, select or accept.
#include "t.h"

enum { WAYS = 4 };

void extra(void)
{
    int fd = tcp_socket();
    struct sockaddr_in address = at(getenv("T_PLAIN_TO"), port(0));
    char text[16];
    MUST(connect(fd, SA(address), sizeof address));
    send_all(fd, "over loopback", 13);
    receive_all(fd, text, 4);
    if (memcmp(text, "here", 4) != 0 || recv(fd, text, 1, 0) != 0)
        die("plain client: another answer");
}

// Sleeps until the listener is ready, each time by another call.
static void await_listener(int listening, int way)
{
    struct epoll_event event = {.events = EPOLLIN};
    fd_set in;
    int epoll;
    switch (way) {
    case 0:
        say("poll: %s", poll_bits(await(listening, POLLIN)));
        return;
    case 1:
        epoll = (int)MUST(epoll_create1(0));
        MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event));
        CALL(epoll_wait(epoll, &event, 1, 10000));
        close(epoll);
        return;
    case 2:
        FD_ZERO(&in);
        FD_SET(listening, &in);
        CALL(select(listening + 1, &in, NULL, NULL, &(struct timeval){.tv_sec = 10}));
        return;
    }
}

static void serve_one(int listening, int way)
{
    struct sockaddr_in peer, local;
    socklen_t length = sizeof peer;
    char text[16];
    await_listener(listening, way);
    int fd = OPEN(accept(listening, SA(peer), &length));
    length = sizeof local;
    MUST(getsockname(fd, SA(local), &length));
    say("peer %s", inet_ntoa(peer.sin_addr));
    say("here %s, the port: %s", inet_ntoa(local.sin_addr), ntohs(local.sin_port) == port(0) ? "yes" : "no");
    GOT(recv(fd, text, 13, MSG_WAITALL), text);
    send_all(fd, "here", 4);
    close(fd);
}

void server(void)
{
    int listening = tcp_socket();
    struct sockaddr_in any = at("0.0.0.0", port(0));
    set_option(listening, SOL_SOCKET, SO_REUSEADDR, 1);
    MUST(bind(listening, SA(any), sizeof any));
    MUST(listen(listening, 16));
    for (int i = 0; i < WAYS; i++) {
        setenv("T_PLAIN_TO", i % 2 ? getenv("T_SERVER") : "127.0.0.1", 1);
        pid_t plain = plain_child();
        serve_one(listening, i);
        reap("plain client", plain);
        step("loopback served");
        serve_one(listening, i);
    }
    // Both at once, asleep in a blocking accept: each is served, in whichever order.
    step("both");
    pid_t plain = plain_child();
    int over_device = 0;
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        char text[16];
        int fd = (int)MUST(accept(listening, SA(peer), &length));
        over_device += peer.sin_addr.s_addr == client_at(0).sin_addr.s_addr;
        receive_all(fd, text, 13);
        send_all(fd, "here", 4);
        close(fd);
    }
    reap("plain client", plain);
    say("over the device %d", over_device);
}

static void ask(void)
{
    int fd = connect_to(0);
    char text[8];
    CALL(send(fd, "over a device", 13, 0));
    GOT(recv(fd, text, 4, MSG_WAITALL), text);
    CALL(recv(fd, text, 1, 0));
    close(fd);
}

void client(void)
{
    for (int i = 0; i < WAYS; i++) {
        step("loopback served");
        ask();
    }
    step("both");
    ask();
}
