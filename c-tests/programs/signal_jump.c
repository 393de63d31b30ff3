// A handler that jumps out of a blocking call, as old programs do for timeouts: the socket works on, many times over.
#include "t.h"

#include <setjmp.h>

static sigjmp_buf back;
static pthread_t victim;

static void jump(int number)
{
    (void)number;
    siglongjmp(back, 1);
}

static void *shoot(void *unused)
{
    (void)unused;
    usleep(30000);
    pthread_kill(victim, SIGUSR1);
    return NULL;
}

static void jump_out_of(int fd, int how)
{
    char byte;
    struct pollfd one = {.fd = fd, .events = POLLIN};
    pthread_t shooter;
    victim = pthread_self();
    pthread_create(&shooter, NULL, shoot, NULL);
    if (sigsetjmp(back, 1) == 0) {
        if (how == 0)
            CALL(recv(fd, &byte, 1, 0));
        else if (how == 1)
            CALL(poll(&one, 1, -1));
        else
            CALL(select(fd + 1, &(fd_set){{0}}, NULL, NULL, NULL));
    }
    pthread_join(shooter, NULL);
}

static void active(int fd)
{
    signal(SIGUSR1, jump);
    for (int i = 0; i < 9; i++)
        jump_out_of(fd, i % 3);
    signal(SIGUSR1, SIG_DFL);
    char text[8];
    step("jumped");
    GOT(recv(fd, text, 4, MSG_WAITALL), text);
    CALL(send(fd, "fine", 4, 0));
}

static void passive(int fd)
{
    char text[8];
    step("jumped");
    CALL(send(fd, "well", 4, 0));
    GOT(recv(fd, text, 4, MSG_WAITALL), text);
}

EACH_SIDE(active, passive)
