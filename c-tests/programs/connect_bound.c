// A client that binds before it connects: to an address and port, to an address alone, to a port alone.
#include "t.h"

void server(void)
{
    int listening = listener(0, 5);
    step("listening");
    for (int i = 0; i < 3; i++) {
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        int fd = (int)MUST(accept(listening, SA(peer), &length));
        say("peer's address %s, port bound: %s", inet_ntoa(peer.sin_addr), ntohs(peer.sin_port) == port(5 + i) ? "yes" : "no");
        char text[8];
        GOT(read(fd, text, sizeof text), text);
        // The client goes first, so that its port is not held by the server's TIME_WAIT.
        GOT(read(fd, text, sizeof text), text);
        close(fd);
    }
    step("spoken");
}

static void connect_from(struct sockaddr_in from)
{
    int fd = tcp_socket();
    struct sockaddr_in address = server_at(0), local;
    socklen_t length = sizeof local;
    CALL(bind(fd, SA(from), sizeof from));
    CALL(connect(fd, SA(address), sizeof address));
    CALL(getsockname(fd, SA(local), &length));
    say("address %s, port as bound: %s", inet_ntoa(local.sin_addr), local.sin_port == from.sin_port ? "yes" : "no");
    CALL(bind(fd, SA(from), sizeof from));
    CALL(write(fd, "hello", 5));
    close(fd);
}

void client(void)
{
    step("listening");
    connect_from(client_at(5));
    struct sockaddr_in address_alone = client_at(0);
    address_alone.sin_port = 0;
    connect_from(address_alone);
    connect_from(at("0.0.0.0", port(7)));
    step("spoken");
}
