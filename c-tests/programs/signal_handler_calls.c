// A signal handler that itself sends and receives, a thousand times a second, while the program transfers: nothing is
// lost, doubled or stuck.
#include "t.h"

#include <time.h>

enum { TOTAL = 4000000 };
static int beside;
static volatile sig_atomic_t asking, asked, answered, wrong;

static void ask(int number)
{
    (void)number;
    int saved = errno;
    char byte = 'q';
    if (asking && asked == answered && send(beside, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
        asked++;
    if (recv(beside, &byte, 1, MSG_DONTWAIT) == 1) {
        wrong += byte != 'q';
        answered++;
    }
    errno = saved;
}

static void active(int fd)
{
    beside = connected();
    asked = answered = wrong = 0;
    asking = 1;
    struct sigaction action = {.sa_handler = ask, .sa_flags = SA_RESTART};
    sigaction(SIGUSR2, &action, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    struct itimerspec every = {.it_interval.tv_nsec = 1000000, .it_value.tv_nsec = 1000000};
    timer_t timer;
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
    MUST(timer_settime(timer, 0, &every, NULL));
    send_pattern(fd, TOTAL, 3001);
    receive_pattern(fd, TOTAL, 3001);
    asking = 0;
    for (long end = milliseconds() + 5000; answered < asked && milliseconds() < end;)
        usleep(1000);
    timer_delete(timer);
    signal(SIGUSR2, SIG_DFL);
    say("asked %s, all answered %s, wrong %d", asked > 0 ? "some" : "nothing", answered == asked ? "yes" : "no", (int)wrong);
    close(beside);
}

static void *echo(void *argument)
{
    char byte;
    while (recv(*(int *)argument, &byte, 1, 0) == 1)
        send(*(int *)argument, &byte, 1, MSG_NOSIGNAL);
    return NULL;
}

static void passive(int fd)
{
    int other = connected();
    pthread_t thread;
    pthread_create(&thread, NULL, echo, &other);
    receive_pattern(fd, TOTAL, 5003);
    send_pattern(fd, TOTAL, 5003);
    pthread_join(thread, NULL);
    close(other);
}

EACH_SIDE(active, passive)
