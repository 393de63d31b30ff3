// listen() without bind, twice, on a connected socket; bind twice; SO_ACCEPTCONN; the port is refused after close.
#include "t.h"

void server(void)
{
    int fd = tcp_socket();
    say("SO_ACCEPTCONN %d", get_option(fd, SOL_SOCKET, SO_ACCEPTCONN));
    CALL(listen(fd, 5));
    say("SO_ACCEPTCONN %d", get_option(fd, SOL_SOCKET, SO_ACCEPTCONN));
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    CALL(getsockname(fd, SA(name), &length));
    say("address %s, port given: %s", inet_ntoa(name.sin_addr), name.sin_port ? "yes" : "no");
    CALL(listen(fd, 50));
    CALL(listen(fd, 0));
    CALL(listen(fd, -1));
    struct sockaddr_in address = server_at(0);
    CALL(bind(fd, SA(address), sizeof address));
    tell(ntohs(name.sin_port));

    int accepted = accept_one(fd);
    CALL(listen(accepted, 1));
    CALL(bind(accepted, SA(address), sizeof address));
    char byte;
    CALL(recv(fd, &byte, 1, 0));
    CALL(send(fd, "x", 1, MSG_NOSIGNAL));
    GOT(recv(accepted, &byte, 1, 0), &byte);
    CALL(close(fd));
    step("closed");
    CALL(send(accepted, "y", 1, 0));
    step("spoken");
}

void client(void)
{
    struct sockaddr_in address = server_at(0);
    address.sin_port = htons((in_port_t)hear());
    int fd = tcp_socket();
    CALL(connect(fd, SA(address), sizeof address));
    CALL(listen(fd, 1));
    CALL(send(fd, "x", 1, 0));
    step("closed");
    int late = tcp_socket();
    CALL(connect(late, SA(address), sizeof address));
    char byte;
    GOT(recv(fd, &byte, 1, 0), &byte);
    step("spoken");
}
