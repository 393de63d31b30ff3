// sendmmsg and recvmmsg on TCP: how many messages, the length of each, MSG_WAITFORONE, timeouts and limits.
#include "t.h"

static void active(int fd)
{
    struct iovec pieces[3] = {{"alpha ", 6}, {"beta ", 5}, {"gamma", 5}};
    struct mmsghdr messages[3] = {0};
    for (int i = 0; i < 3; i++)
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
    CALL(sendmmsg(fd, messages, 0, 0));
    CALL(sendmmsg(fd, messages, 3, 0));
    for (int i = 0; i < 3; i++)
        say("message %d: %u", i, messages[i].msg_len);
    step("sent");
    step("read");
    CALL(sendmmsg(fd, messages, 1, 0));
    step("one sent");
    CALL(sendmmsg(fd, null_pointer, 1, 0));
    CALL(sendmmsg(-1, messages, 1, 0));
}

static void passive(int fd)
{
    char text[3][8];
    struct iovec pieces[3];
    struct mmsghdr messages[3] = {0};
    for (int i = 0; i < 3; i++) {
        pieces[i] = (struct iovec){text[i], sizeof text[i]};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    step("sent");
    await_queued(fd, 16);
    CALL(recvmmsg(fd, messages, 3, MSG_DONTWAIT, NULL));
    for (int i = 0; i < 2; i++)
        say_bytes("message", text[i], messages[i].msg_len);
    CALL(recvmmsg(fd, messages, 3, MSG_DONTWAIT, NULL));
    step("read");
    step("one sent");
    await_queued(fd, 6);
    CALL(recvmmsg(fd, messages, 3, MSG_WAITFORONE, NULL));
    say_bytes("message", text[0], messages[0].msg_len);
    struct timespec bad = {.tv_nsec = -1};
    CALL(recvmmsg(fd, messages, 1, MSG_DONTWAIT, &bad));
}

EACH_SIDE(active, passive)
