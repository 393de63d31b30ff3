// Every way to write and to read, with one and with several pieces, moves the bytes and answers their number.
#include "t.h"

static void active(int fd)
{
    struct iovec pieces[4] = {{"one ", 4}, {"", 0}, {"two ", 4}, {"three", 5}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 4};
    struct sockaddr_in elsewhere = at("192.0.2.9", 9);

    CALL(write(fd, "by write", 8));
    step("write");
    CALL(send(fd, "by send", 7, 0));
    step("send");
    CALL(writev(fd, pieces, 4));
    step("writev");
    CALL(sendto(fd, "by sendto", 9, 0, NULL, 0));
    step("sendto");
    CALL(sendto(fd, "address ignored", 15, 0, SA(elsewhere), sizeof elsewhere));
    step("sendto address");
    CALL(sendmsg(fd, &message, 0));
    step("sendmsg");
    message.msg_name = &elsewhere;
    message.msg_namelen = sizeof elsewhere;
    CALL(sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
    step("sendmsg address");
    CALL(pwrite(fd, "x", 1, 0));
}

static void passive(int fd)
{
    char text[64], a[3], b[1], c[40];
    struct iovec pieces[4] = {{a, sizeof a}, {NULL, 0}, {b, sizeof b}, {c, sizeof c}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 4};
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    char control[64];

    await_queued(fd, 8);
    GOT(read(fd, text, 3), text);
    GOT(read(fd, text, sizeof text), text);
    step("write");
    await_queued(fd, 7);
    GOT(recv(fd, text, sizeof text, 0), text);
    step("send");
    await_queued(fd, 13);
    CALL(readv(fd, pieces, 4));
    say_bytes("a", a, 3);
    say_bytes("b", b, 1);
    say_bytes("c", c, 9);
    step("writev");
    await_queued(fd, 9);
    memset(&from, 0x5a, sizeof from);
    GOT(recvfrom(fd, text, sizeof text, 0, SA(from), &length), text);
    say("length %u, address touched: %s", length, from.sin_family == 0x5a5a ? "no" : "yes");
    step("sendto");
    await_queued(fd, 15);
    GOT(recvfrom(fd, text, sizeof text, 0, NULL, NULL), text);
    step("sendto address");
    await_queued(fd, 13);
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    message.msg_flags = 0x7fff;
    CALL(recvmsg(fd, &message, 0));
    say("namelen %u, controllen %zu, flags %x", message.msg_namelen, message.msg_controllen, message.msg_flags);
    say_bytes("a", a, 3);
    say_bytes("b", b, 1);
    say_bytes("c", c, 9);
    step("sendmsg");
    await_queued(fd, 13);
    message = (struct msghdr){.msg_iov = pieces + 3, .msg_iovlen = 1};
    CALL(recvmsg(fd, &message, MSG_DONTWAIT));
    say_bytes("c", c, 13);
    step("sendmsg address");
    CALL(pread(fd, text, 1, 0));
}

EACH_SIDE(active, passive)
