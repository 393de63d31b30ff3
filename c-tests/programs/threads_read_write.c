// A reader thread and a writer thread on one socket, at both ends, each blocking when it must.
#include "t.h"

enum { TOTAL = 5000000 };

static void *sender(void *argument)
{
    send_pattern(*(int *)argument, TOTAL, 7001);
    MUST(shutdown(*(int *)argument, SHUT_WR));
    return NULL;
}

static void both(int fd)
{
    pthread_t thread;
    pthread_create(&thread, NULL, sender, &fd);
    receive_pattern(fd, TOTAL, 9001);
    char byte;
    CALL(recv(fd, &byte, 1, 0));
    pthread_join(thread, NULL);
}

EACH_SIDE(both, both)
