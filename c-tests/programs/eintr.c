// A signal during recv, send, accept and read: EINTR without SA_RESTART, silence with it; partial results first.
#include "t.h"

static volatile sig_atomic_t signals;
static void count(int number) { signals += number == SIGUSR1; }

static pthread_t victim;

static void *shoot(void *delay)
{
    usleep((useconds_t)(intptr_t)delay);
    pthread_kill(victim, SIGUSR1);
    return NULL;
}

static pthread_t shoot_later(void)
{
    pthread_t thread;
    victim = pthread_self();
    signals = 0;
    pthread_create(&thread, NULL, shoot, (void *)100000);
    return thread;
}

static void hit(pthread_t shooter)
{
    pthread_join(shooter, NULL);
    say("  signals %d", (int)signals);
}

static void set_handler(int flags)
{
    struct sigaction action = {.sa_handler = count, .sa_flags = flags};
    sigaction(SIGUSR1, &action, NULL);
}

static void active(int fd)
{
    char text[16];
    pthread_t shooter;
    int listening = tcp_socket();
    MUST(listen(listening, 1));

    set_handler(0);
    shooter = shoot_later();
    CALL(recv(fd, text, 1, 0));
    hit(shooter);
    shooter = shoot_later();
    CALL(read(fd, text, 1));
    hit(shooter);
    shooter = shoot_later();
    CALL(accept(listening, NULL, NULL));
    hit(shooter);
    step("half");
    await_queued(fd, 3);
    shooter = shoot_later();
    GOT(recv(fd, text, 10, MSG_WAITALL), text);
    hit(shooter);
    static char much[1 << 20];
    shooter = shoot_later();
    long sent = 0, now;
    while ((now = send(fd, much, sizeof much, 0)) == (long)sizeof much)
        sent += now;
    if (now > 0)
        sent += now;
    hit(shooter);
    say("interrupted in the middle: %s", now == -1 ? error_name(errno) : "partial");

    // With SA_RESTART the call goes on and the data that comes later is its result.
    set_handler(SA_RESTART);
    shooter = shoot_later();
    tell(sent);
    GOT(recv(fd, text, 5, 0), text);
    hit(shooter);
    // A timeout makes a receive one that is not restarted.
    struct timeval time = {.tv_sec = 5};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    shooter = shoot_later();
    CALL(recv(fd, text, 1, 0));
    hit(shooter);
    signal(SIGUSR1, SIG_DFL);
}

static void passive(int fd)
{
    step("half");
    send_all(fd, "abc", 3);
    long sent = hear();
    static char much[1 << 20];
    while (sent > 0)
        sent -= MUST(recv(fd, much, sent < (long)sizeof much ? (size_t)sent : sizeof much, 0));
    usleep(200000);
    send_all(fd, "later", 5);
}

EACH_SIDE(active, passive)
