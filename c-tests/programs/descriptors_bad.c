// Every call on a closed descriptor is EBADF, and every socket call on a pipe or a file is ENOTSOCK.
// Not accelerated: both (no connection is made)
#include "t.h"

#include <sys/sendfile.h>

static void all_calls(int fd)
{
    char text[8] = "";
    int value = 0;
    socklen_t length = sizeof value;
    struct sockaddr_in address = server_at(0);
    struct iovec piece = {text, 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    struct mmsghdr messages = {.msg_hdr = message};
    CALL(bind(fd, SA(address), sizeof address));
    CALL(listen(fd, 5));
    CALL(connect(fd, SA(address), sizeof address));
    CALL(accept(fd, NULL, NULL));
    CALL(accept4(fd, NULL, NULL, 0));
    CALL(accept4(fd, NULL, NULL, 1));
    CALL(getsockname(fd, SA(address), &length));
    CALL(getpeername(fd, SA(address), &length));
    CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &length));
    CALL(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, sizeof value));
    CALL(shutdown(fd, SHUT_RDWR));
    CALL(send(fd, text, 1, 0));
    CALL(sendto(fd, text, 1, 0, SA(address), sizeof address));
    CALL(sendmsg(fd, &message, 0));
    CALL(sendmmsg(fd, &messages, 1, 0));
    CALL(recv(fd, text, 1, MSG_DONTWAIT));
    CALL(recvfrom(fd, text, 1, MSG_DONTWAIT, NULL, NULL));
    CALL(recvmsg(fd, &message, MSG_DONTWAIT));
    CALL(recvmmsg(fd, &messages, 1, MSG_DONTWAIT, NULL));
}

static void closed_calls(int fd)
{
    char text[8] = "";
    int value = 0;
    struct iovec piece = {text, 1};
    CALL(read(fd, text, 1));
    CALL(write(fd, text, 1));
    CALL(readv(fd, &piece, 1));
    CALL(writev(fd, &piece, 1));
    CALL(pread(fd, text, 1, 0));
    CALL(dup(fd));
    CALL(dup2(fd, 50));
    CALL(dup3(fd, 50, O_CLOEXEC));
    CALL(fcntl(fd, F_GETFL));
    CALL(ioctl(fd, FIONREAD, &value));
    CALL(sendfile(fd, fd, NULL, 1));
    CALL(close(fd));
    CALL(fsync(fd));
}

void server(void)
{
    int pipes[2];
    MUST(pipe(pipes));
    int closed = tcp_socket();
    close(closed);
    say("-- closed");
    all_calls(closed);
    closed_calls(closed);
    say("-- never there");
    all_calls(-1);
    closed_calls(-1);
    all_calls(1 << 24);
    closed_calls(1 << 24);
    say("-- pipe");
    all_calls(pipes[0]);
    say("-- file");
    all_calls((int)MUST(open("/dev/null", O_RDWR)));
    say("-- epoll");
    all_calls((int)MUST(epoll_create1(0)));
}

void client(void) { server(); }
