// accept and accept4: flags of the new descriptor, EAGAIN, wrong flags, wrong state, the peer's address cut short.
#include "t.h"

static void say_flags(int fd)
{
    int status = fcntl(fd, F_GETFL), descriptor = fcntl(fd, F_GETFD);
    say("  O_NONBLOCK %s, O_RDWR %s, FD_CLOEXEC %s", status & O_NONBLOCK ? "yes" : "no",
        (status & O_ACCMODE) == O_RDWR ? "yes" : "no", descriptor & FD_CLOEXEC ? "yes" : "no");
}

void server(void)
{
    int plain = tcp_socket();
    CALL(accept(plain, NULL, NULL));
    int listening = listener(0, 8);
    set_nonblocking(listening, true);
    CALL(accept(listening, NULL, NULL));
    CALL(accept4(listening, NULL, NULL, SOCK_NONBLOCK));
    step("listening");
    step("connected");

    await(listening, POLLIN);
    int fd = OPEN(accept(listening, NULL, NULL));
    say_flags(fd);
    CALL(accept(fd, NULL, NULL));
    say_flags(OPEN(accept4(listening, NULL, NULL, 0)));
    CALL(accept4(listening, NULL, NULL, 0x1));
    say_flags(OPEN(accept4(listening, NULL, NULL, SOCK_NONBLOCK)));
    say_flags(OPEN(accept4(listening, NULL, NULL, SOCK_CLOEXEC)));

    struct sockaddr_in peer;
    memset(&peer, 0x5a, sizeof peer);
    socklen_t length = 6;
    say_flags(OPEN(accept4(listening, SA(peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC)));
    say("length %u, family %d, address %s (half of it ours)", length, peer.sin_family, inet_ntoa(peer.sin_addr));
    length = 0;
    OPEN(accept(listening, SA(peer), &length));
    say("length %u", length);
    length = 100;
    struct sockaddr_storage roomy;
    OPEN(accept(listening, SA(roomy), &length));
    say("length %u, family %d", length, roomy.ss_family);
    CALL(accept(listening, NULL, NULL));
    step("done");
}

void client(void)
{
    step("listening");
    for (int i = 0; i < 7; i++)
        connect_to(0);
    step("connected");
    step("done");
}
