// One listener on all addresses serves a client over the device and plain kernel clients over loopback together.
#include "t.h"

void extra(void)
{
    int fd = tcp_socket();
    struct sockaddr_in address = at("127.0.0.1", port(0));
    char text[16];
    MUST(connect(fd, SA(address), sizeof address));
    send_all(fd, "over loopback", 13);
    receive_all(fd, text, 4);
    if (memcmp(text, "here", 4) != 0 || recv(fd, text, 1, 0) != 0)
        die("plain client: another answer");
}

static void serve_one(int listening)
{
    struct sockaddr_in peer, local;
    socklen_t length = sizeof peer;
    char text[16];
    say("listener: %s", poll_bits(await(listening, POLLIN)));
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
    for (int i = 0; i < 3; i++) {
        pid_t plain = plain_child();
        serve_one(listening);
        reap("plain client", plain);
        step("loopback served");
        serve_one(listening);
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
    for (int i = 0; i < 3; i++) {
        step("loopback served");
        ask();
    }
    step("both");
    ask();
}
