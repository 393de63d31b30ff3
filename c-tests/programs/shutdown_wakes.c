// A thread asleep in recv, in accept or in poll is woken when another shuts the socket down.
#include "t.h"

static void *receive(void *argument)
{
    char byte;
    CALL(recv(*(int *)argument, &byte, 1, 0));
    return NULL;
}

static void *take(void *argument)
{
    CALL(accept(*(int *)argument, NULL, NULL));
    return NULL;
}

static void *look(void *argument)
{
    say("poll: %s", poll_bits(await(*(int *)argument, POLLIN)));
    return NULL;
}

static void woken(int fd, void *(*sleeper)(void *), int how)
{
    pthread_t thread;
    pthread_create(&thread, NULL, sleeper, &fd);
    settle();
    MUST(shutdown(fd, how));
    pthread_join(thread, NULL);
}

static void active(int fd)
{
    woken(fd, receive, SHUT_RD);
    int listening = tcp_socket();
    MUST(listen(listening, 1));
    woken(listening, take, SHUT_RDWR);
    step("first");
    int other = connected();
    woken(other, look, SHUT_RDWR);
}

static void passive(int fd)
{
    char byte;
    step("first");
    int other = connected();
    CALL(recv(other, &byte, 1, 0));
    (void)fd;
}

EACH_SIDE(active, passive)
