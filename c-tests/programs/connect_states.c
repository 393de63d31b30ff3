// connect() in the wrong state or with wrong arguments, AF_UNSPEC to dissolve a connection, and a second use.
#include "t.h"

void server(void)
{
    int listening = listener(0, 5);
    step("listening");
    int first = accept_one(listening);
    char byte;
    // Dissolving a connection by AF_UNSPEC is abrupt.
    say("first: %s", poll_bits(await(first, POLLIN | POLLRDHUP)));
    CALL(read(first, &byte, 1));
    int second = accept_one(listening);
    GOT(read(second, &byte, 1), &byte);
    step("spoken");
}

void client(void)
{
    step("listening");
    struct sockaddr_in address = server_at(0);
    int fd = tcp_socket();
    CALL(connect(fd, SA(address), 0));
    CALL(connect(fd, SA(address), 2));
    CALL(connect(fd, SA(address), sizeof address - 1));
    CALL(connect(fd, NULL, sizeof address));
    struct sockaddr_in other_family = address;
    other_family.sin_family = AF_INET6;
    CALL(connect(fd, SA(other_family), sizeof other_family));
    CALL(connect(-1, SA(address), sizeof address));
    struct sockaddr_storage roomy = {0};
    memcpy(&roomy, &address, sizeof address);
    CALL(connect(fd, SA(roomy), sizeof roomy));
    CALL(connect(fd, SA(address), sizeof address));

    struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
    CALL(connect(fd, &unspecified, sizeof unspecified));
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    CALL(getpeername(fd, SA(peer), &length));
    char byte;
    CALL(recv(fd, &byte, 1, MSG_DONTWAIT));
    CALL(connect(fd, SA(address), sizeof address));
    CALL(send(fd, "x", 1, 0));

    int listening = tcp_socket();
    CALL(listen(listening, 1));
    CALL(connect(listening, SA(address), sizeof address));
    step("spoken");
}
