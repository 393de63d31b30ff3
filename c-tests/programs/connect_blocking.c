// A blocking connect: its result, both ends' names, EISCONN when repeated, and bytes in both directions.
#include "t.h"

static void say_names(int fd)
{
    struct sockaddr_in local, peer;
    socklen_t length = sizeof local;
    CALL(getsockname(fd, SA(local), &length));
    say("length %u, family %d", length, local.sin_family);
    length = sizeof peer;
    CALL(getpeername(fd, SA(peer), &length));
    say("length %u, family %d", length, peer.sin_family);
    tell(ntohs(local.sin_port));
    long other_port = hear();
    say("my address %s", inet_ntoa(local.sin_addr));
    say("peer's address %s", inet_ntoa(peer.sin_addr));
    say("peer's port is what the peer says: %s", ntohs(peer.sin_port) == other_port ? "yes" : "no");
}

void server(void)
{
    int listening = listener(0, 5);
    step("listening");
    int fd = OPEN(accept(listening, NULL, NULL));
    say_names(fd);
    char text[64];
    GOT(recv(fd, text, sizeof text, 0), text);
    CALL(send(fd, "and back", 8, 0));
    step("spoken");
    close(fd);
    close(listening);
}

void client(void)
{
    step("listening");
    int fd = OPEN(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in address = server_at(0);
    CALL(connect(fd, SA(address), sizeof address));
    say_names(fd);
    CALL(connect(fd, SA(address), sizeof address));
    CALL(send(fd, "there", 5, 0));
    char text[64];
    GOT(recv(fd, text, sizeof text, 0), text);
    step("spoken");
    close(fd);
}
