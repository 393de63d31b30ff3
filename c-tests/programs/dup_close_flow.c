// One of two numbers is closed while a thread moves data over the other: not a byte is lost in either direction.
#include "t.h"

enum { TOTAL = 3000000 };

static void *sender(void *argument)
{
    send_pattern(*(int *)argument, TOTAL, 3001);
    return NULL;
}

static void *receiver(void *argument)
{
    receive_pattern(*(int *)argument, TOTAL, 5003);
    return NULL;
}

static void both_ways(int out, int in)
{
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, sender, &out);
    pthread_create(&threads[1], NULL, receiver, &in);
    for (int i = 0; i < 200; i++) {
        int third = (int)MUST(dup(i % 2 ? out : in));
        usleep(500);
        close(third);
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
}

static void active(int fd)
{
    int twin = (int)MUST(dup(fd));
    both_ways(fd, twin);
    close(twin);
    both_ways(fd, fd);
}

EACH_SIDE(active, active)
