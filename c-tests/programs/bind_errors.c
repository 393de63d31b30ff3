// bind: EADDRNOTAVAIL, EINVAL, EAFNOSUPPORT, EFAULT, and EACCES for a low port as nobody.
// Not accelerated: both (no connection is made)
#include "t.h"

void server(void)
{
    int fd = tcp_socket();
    struct sockaddr_in address = server_at(0), foreign = at("192.0.2.1", 0), wrong = address, low = at("0.0.0.0", 80);
    CALL(bind(fd, SA(foreign), sizeof foreign));
    CALL(bind(fd, SA(address), sizeof address - 1));
    CALL(bind(fd, SA(address), 0));
    CALL(bind(fd, SA(address), (socklen_t)-1));
    wrong.sin_family = AF_INET6;
    CALL(bind(fd, SA(wrong), sizeof wrong));
    wrong.sin_family = 77;
    CALL(bind(fd, SA(wrong), sizeof wrong));
    wrong.sin_family = AF_UNSPEC;
    CALL(bind(fd, SA(wrong), sizeof wrong));
    CALL(bind(fd, null_pointer, sizeof address));
    CALL(bind(fd, low_pointer, sizeof address));
    CALL(bind(-1, SA(address), sizeof address));
    struct sockaddr_storage roomy = {0};
    struct sockaddr_in loopback = at("127.0.0.1", 0);
    memcpy(&roomy, &loopback, sizeof loopback);
    CALL(bind(fd, SA(roomy), sizeof roomy));
    CALL(bind(fd, SA(loopback), sizeof loopback));
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    CALL(getsockname(fd, SA(name), &length));
    say("address %s, port given: %s", inet_ntoa(name.sin_addr), name.sin_port ? "yes" : "no");

    pid_t child = t_fork();
    if (child == 0) {
        if (setgid(65534) < 0 || setuid(65534) < 0)
            die("setuid: %s", error_name(errno));
        int mine = tcp_socket();
        CALL(bind(mine, SA(low), sizeof low));
        low.sin_port = htons(1023);
        CALL(bind(mine, SA(low), sizeof low));
        low.sin_port = htons(port(3));
        CALL(bind(mine, SA(low), sizeof low));
        _exit(0);
    }
    reap("nobody", child);
    CALL(bind(tcp_socket(), SA(low), sizeof low));
}

void client(void)
{
    // As the server, in the other namespace, whose own address is another one.
    struct sockaddr_in mine = client_at(0), theirs = server_at(0);
    CALL(bind(tcp_socket(), SA(theirs), sizeof theirs));
    CALL(bind(tcp_socket(), SA(mine), sizeof mine));
}
