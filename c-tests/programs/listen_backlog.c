// A full accept queue: backlog 1 holds two, the third waits until there is room, and none is lost.
#include "t.h"

void server(void)
{
    int listening = listener(0, 1);
    step("listening");
    step("two connected");
    step("third waits");
    for (int i = 0; i < 3; i++) {
        int fd = OPEN(accept(listening, NULL, NULL));
        char byte;
        GOT(read(fd, &byte, 1), &byte);
    }
    step("done");
}

void client(void)
{
    struct sockaddr_in address = server_at(0);
    step("listening");
    for (int i = 0; i < 2; i++) {
        int fd = tcp_socket();
        CALL(connect(fd, SA(address), sizeof address));
        CALL(write(fd, i ? "2" : "1", 1));
    }
    step("two connected");
    int third = tcp_socket();
    set_nonblocking(third, true);
    CALL(connect(third, SA(address), sizeof address));
    settle();
    struct pollfd one = {.fd = third, .events = POLLOUT};
    CALL(poll(&one, 1, 0));
    step("third waits");
    say("then: %s", poll_bits(await(third, POLLOUT)));
    CALL(write(third, "3", 1));
    step("done");
}
