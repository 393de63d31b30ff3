// Vectors that are too many, negative or too long are refused before a byte moves; the largest allowed one works.
#include "t.h"

#include <limits.h>

static char storage[IOV_MAX + 1][3];
static struct iovec many[IOV_MAX + 1];

static void active(int fd)
{
    for (int i = 0; i <= IOV_MAX; i++) {
        memcpy(storage[i], "abc", 3);
        many[i] = (struct iovec){storage[i], 3};
    }
    CALL(writev(fd, many, minus_one));
    CALL(writev(fd, many, IOV_MAX + 1));
    CALL(readv(fd, many, minus_one));
    CALL(readv(fd, many, IOV_MAX + 1));
    struct msghdr message = {.msg_iov = many, .msg_iovlen = IOV_MAX + 1};
    CALL(sendmsg(fd, &message, 0));
    CALL(recvmsg(fd, &message, MSG_DONTWAIT));
    struct iovec huge[2] = {{storage, 3}, {storage, (size_t)-1}};
    CALL(writev(fd, huge, 2));
    CALL(readv(fd, huge, 2));
    CALL(sendmsg(fd, null_pointer, 0));
    CALL(recvmsg(fd, null_pointer, MSG_DONTWAIT));
    CALL(writev(fd, null_pointer, 1));
    CALL(readv(fd, null_pointer, 1));
    message = (struct msghdr){.msg_iov = null_pointer, .msg_iovlen = 1};
    CALL(sendmsg(fd, &message, 0));
    CALL(recvmsg(fd, &message, MSG_DONTWAIT));
    CALL(writev(fd, many, IOV_MAX));
}

static void passive(int fd)
{
    for (int i = 0; i <= IOV_MAX; i++)
        many[i] = (struct iovec){storage[i], 3};
    await_queued(fd, 3 * IOV_MAX);
    CALL(readv(fd, many, IOV_MAX));
    say_bytes("all", storage, 3 * IOV_MAX);
}

EACH_SIDE(active, passive)
