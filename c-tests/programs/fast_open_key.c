// TCP_FASTOPEN_KEY: what it answers, and that a cookie is good for whoever has the key that made it.
#include "t.h"

static void allow(void)
{
    int fd = (int)MUST(open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY | O_CLOEXEC));
    MUST(write(fd, "3", 1));
    close(fd);
    // Whoever else reads it does so once in a while.
    sleep(3);
}

static int fast_listener(const char *key, size_t length)
{
    int fd = tcp_socket();
    struct sockaddr_in address = server_at(0);
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    MUST(bind(fd, SA(address), sizeof address));
    CALL(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, length));
    say_option(fd, IPPROTO_TCP, "TCP_FASTOPEN", TCP_FASTOPEN, 16);
    MUST(listen(fd, 16));
    return fd;
}

static void say_key(int fd)
{
    char key[64] = "";
    socklen_t length = sizeof key;
    CALL(getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, &length));
    say_bytes("the key", key, length);
}

// Takes one connection.
static void serve(int listening, bool says)
{
    int fd = accept_one(listening);
    char text[16];
    receive_all(fd, text, 5);
    struct tcp_info info;
    socklen_t length = sizeof info;
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
    if (says)
        say("data in the SYN: %s", info.tcpi_options & 32 ? "yes" : "no");
    MUST(shutdown(fd, SHUT_WR));
    CALL(recv(fd, text, sizeof text, 0));
    close(fd);
}

void server(void)
{
    allow();
    char first[] = "0123456789abcdef", both[] = "fedcba98765432100123456789abcdef", other[] = "another key here";
    int listening = fast_listener(first, 16);
    say_key(listening);
    step("listening");
    // The peer may remember a cookie of somebody else's.
    serve(listening, false);
    serve(listening, true);
    step("another listener");
    close(listening);
    listening = fast_listener(first, 16);
    step("same key");
    serve(listening, true);
    step("two keys");
    CALL(setsockopt(listening, IPPROTO_TCP, TCP_FASTOPEN_KEY, both, 32));
    say_key(listening);
    step("set");
    serve(listening, true);
    step("neither");
    CALL(setsockopt(listening, IPPROTO_TCP, TCP_FASTOPEN_KEY, other, 16));
    CALL(setsockopt(listening, IPPROTO_TCP, TCP_FASTOPEN_KEY, other, 15));
    step("set");
    serve(listening, true);
    close(listening);
}

static void open_one(void)
{
    struct sockaddr_in to = server_at(0);
    int fd = tcp_socket();
    char text[16];
    CALL(sendto(fd, "hello", 5, MSG_FASTOPEN, SA(to), sizeof to));
    CALL(recv(fd, text, sizeof text, 0));
    CALL(close(fd));
}

void client(void)
{
    step("listening");
    open_one();
    open_one();
    step("another listener");
    step("same key");
    open_one();
    step("two keys");
    step("set");
    open_one();
    step("neither");
    step("set");
    open_one();
}
