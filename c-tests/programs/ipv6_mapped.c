// An IPv6 listener on all addresses serves IPv4 clients, and an IPv6 socket connects to a mapped IPv4 address.
#include "t.h"

static struct sockaddr_in6 mapped(struct sockaddr_in address)
{
    struct sockaddr_in6 result = {.sin6_family = AF_INET6, .sin6_port = address.sin_port};
    result.sin6_addr.s6_addr[10] = result.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&result.sin6_addr.s6_addr[12], &address.sin_addr, 4);
    return result;
}

static void say_names(int fd)
{
    struct sockaddr_in6 name;
    socklen_t length = sizeof name;
    char text[INET6_ADDRSTRLEN];
    MUST(getsockname(fd, SA(name), &length));
    say("here %s, length %u", inet_ntop(name.sin6_family, &name.sin6_addr, text, sizeof text), length);
    length = sizeof name;
    MUST(getpeername(fd, SA(name), &length));
    say("there %s, length %u", inet_ntop(name.sin6_family, &name.sin6_addr, text, sizeof text), length);
}

void server(void)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port(0))};
    int listening = OPEN(socket(AF_INET6, SOCK_STREAM, 0));
    set_option(listening, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(listening, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    CALL(bind(listening, SA(any), sizeof any));
    CALL(listen(listening, 8));
    step("listening");
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in6 peer;
        socklen_t length = sizeof peer;
        char text[INET6_ADDRSTRLEN];
        int fd = OPEN(accept(listening, SA(peer), &length));
        say("from %s, length %u", inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof text), length);
        say_names(fd);
        receive_pattern(fd, 100000, 1000);
        send_pattern(fd, 100000, 1000);
        close(fd);
    }
    // An IPv6 client meets an IPv4 listener too.
    int four = listener(1, 4);
    step("four");
    int fd = accept_one(four);
    receive_pattern(fd, 100000, 1000);
}

static void speak(int fd)
{
    send_pattern(fd, 100000, 1000);
    receive_pattern(fd, 100000, 1000);
    close(fd);
}

void client(void)
{
    step("listening");
    speak(connect_to(0));
    struct sockaddr_in6 address = mapped(server_at(0));
    int fd = OPEN(socket(AF_INET6, SOCK_STREAM, 0));
    CALL(connect(fd, SA(address), sizeof address));
    say_names(fd);
    speak(fd);
    step("four");
    address = mapped(server_at(1));
    fd = OPEN(socket(AF_INET6, SOCK_STREAM, 0));
    CALL(connect(fd, SA(address), sizeof address));
    send_pattern(fd, 100000, 1000);
}
