// A non-blocking connect: EINPROGRESS, then writable, SO_ERROR 0, and what connecting again answers.
#include "t.h"

void server(void)
{
    int listening = listener(0, 5);
    step("listening");
    int fd = accept_one(listening);
    char byte;
    GOT(read(fd, &byte, 1), &byte);
    step("spoken");
}

void client(void)
{
    step("listening");
    int fd = OPEN(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    struct sockaddr_in address = server_at(0);
    CALL(connect(fd, SA(address), sizeof address));
    say("then: %s", poll_bits(await(fd, POLLIN | POLLOUT | POLLRDHUP)));
    say("SO_ERROR %s", error_name(get_option(fd, SOL_SOCKET, SO_ERROR)));
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    CALL(getpeername(fd, SA(peer), &length));
    CALL(connect(fd, SA(address), sizeof address));
    CALL(connect(fd, SA(address), sizeof address));
    CALL(write(fd, "x", 1));
    step("spoken");
}
