// A program that knows nothing of sockets gets one as its standard input and output: cat echoes what the peer sends.
#include "t.h"

enum { TOTAL = 400000 };

static void active(int fd)
{
    pid_t child = t_fork();
    if (child == 0) {
        MUST(dup2(fd, 0));
        MUST(dup2(fd, 1));
        close(fd);
        execl("/bin/cat", "cat", (char *)NULL);
        _exit(1);
    }
    close(fd);
    reap("cat", child);
}

static void *sender(void *argument)
{
    send_pattern(*(int *)argument, TOTAL, 4001);
    MUST(shutdown(*(int *)argument, SHUT_WR));
    return NULL;
}

static void passive(int fd)
{
    pthread_t thread;
    pthread_create(&thread, NULL, sender, &fd);
    receive_pattern(fd, TOTAL, 5003);
    char byte;
    CALL(recv(fd, &byte, 1, 0));
    pthread_join(thread, NULL);
}

EACH_SIDE(active, passive)
