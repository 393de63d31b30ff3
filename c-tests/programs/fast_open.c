// TCP Fast Open: sendto(MSG_FASTOPEN) and TCP_FASTOPEN_CONNECT, what they answer in which state, and that every byte arrives once.
#include "t.h"

static void allow(void)
{
    int fd = (int)MUST(open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY | O_CLOEXEC));
    MUST(write(fd, "3", 1));
    close(fd);
    // Whoever else reads it does so once in a while.
    sleep(3);
}

static int fast_listener(int n)
{
    int fd = tcp_socket();
    struct sockaddr_in address = server_at(n);
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    MUST(bind(fd, SA(address), sizeof address));
    say_option(fd, IPPROTO_TCP, "TCP_FASTOPEN", TCP_FASTOPEN, 16);
    MUST(listen(fd, 16));
    return fd;
}

// TCPI_OPT_SYN_DATA: whether data in the SYN was taken. Not asked of the first connection: the kernel may know the cookie from an
// earlier program of the same namespace.
static void say_syn_data(int fd)
{
    static bool knows_cookie;
    if (!knows_cookie) {
        knows_cookie = true;
        return;
    }
    struct tcp_info info;
    socklen_t length = sizeof info;
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
    say("data in the SYN: %s", info.tcpi_options & 32 ? "yes" : "no");
}

// Takes one connection, says what came, and answers.
static void serve(int listening, const char *answer)
{
    int fd = accept_one(listening);
    char text[64];
    long got = 0;
    while (got < 5) {
        long n = recv(fd, text + got, sizeof text - (size_t)got, 0);
        if (n <= 0)
            break;
        got += n;
    }
    say_bytes("the server got", text, got);
    say_syn_data(fd);
    send_all(fd, answer, strlen(answer));
    CALL(shutdown(fd, SHUT_WR));
    GOT(recv(fd, text, sizeof text, MSG_WAITALL), text);
    close(fd);
}

void server(void)
{
    allow();
    int listening = fast_listener(0);
    step("listening");
    for (int i = 0; i < 7; i++)
        serve(listening, "hello");
    close(listening);
}

static void finish(int fd)
{
    char text[16];
    GOT(recv(fd, text, sizeof text, MSG_WAITALL), text);
    say_syn_data(fd);
    CALL(close(fd));
}

void client(void)
{
    struct sockaddr_in to = server_at(0);
    step("listening");

    // The first one asks for the cookie, and sends when the connection is there.
    int fd = tcp_socket();
    CALL(sendto(fd, "first", 5, MSG_FASTOPEN, SA(to), sizeof to));
    CALL(sendto(fd, "again", 5, MSG_FASTOPEN, SA(to), sizeof to));
    finish(fd);

    // Now there is one.
    fd = tcp_socket();
    CALL(sendto(fd, "second", 6, MSG_FASTOPEN, SA(to), sizeof to));
    finish(fd);

    // A call that does not wait: the bytes are under way.
    fd = tcp_socket();
    set_nonblocking(fd, true);
    CALL(sendto(fd, "third", 5, MSG_FASTOPEN, SA(to), sizeof to));
    say("%s", poll_bits(await(fd, POLLOUT)));
    CALL(send(fd, " and more", 9, 0));
    set_nonblocking(fd, false);
    finish(fd);

    // By sendmsg(), from pieces.
    fd = tcp_socket();
    struct iovec pieces[2] = {{.iov_base = (char[]){"fou"}, .iov_len = 3}, {.iov_base = (char[]){"rth"}, .iov_len = 3}};
    struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = pieces, .msg_iovlen = 2};
    CALL(sendmsg(fd, &message, MSG_FASTOPEN));
    finish(fd);

    // By sendmmsg(): each of the messages asks to open, which the second one cannot.
    fd = tcp_socket();
    struct mmsghdr several[2] = {{.msg_hdr = message}, {.msg_hdr = message}};
    CALL(sendmmsg(fd, several, 2, MSG_FASTOPEN));
    say("length %u", several[0].msg_len);
    CALL(sendmmsg(fd, several, 2, MSG_FASTOPEN));
    CALL(sendmmsg(fd, several, 0, MSG_FASTOPEN));
    finish(fd);

    // connect() that waits for the first bytes.
    fd = tcp_socket();
    say_option(fd, IPPROTO_TCP, "TCP_FASTOPEN_CONNECT", TCP_FASTOPEN_CONNECT, 1);
    CALL(connect(fd, SA(to), sizeof to));
    say("%s", poll_bits(await(fd, POLLOUT)));
    CALL(write(fd, "fifth", 5));
    finish(fd);

    fd = tcp_socket();
    set_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
    set_nonblocking(fd, true);
    CALL(connect(fd, SA(to), sizeof to));
    CALL(connect(fd, SA(to), sizeof to));
    CALL(sendto(fd, "sixth", 5, 0, NULL, 0));
    say("%s", poll_bits(await(fd, POLLIN)));
    set_nonblocking(fd, false);
    finish(fd);

    // Nobody is there.
    struct sockaddr_in closed = server_at(5);
    fd = tcp_socket();
    CALL(sendto(fd, "x", 1, MSG_FASTOPEN, SA(closed), sizeof closed));
    CALL(sendto(fd, "x", 1, MSG_FASTOPEN, NULL, 0));
    CALL(close(fd));
}
