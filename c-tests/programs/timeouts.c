// SO_RCVTIMEO and SO_SNDTIMEO: what they read back as, and recv, accept, send and connect that run into them.
#include "t.h"

static void set_time(int fd, int name, long seconds, long microseconds)
{
    struct timeval time = {seconds, microseconds};
    CALL(setsockopt(fd, SOL_SOCKET, name, &time, sizeof time));
    socklen_t length = sizeof time;
    CALL(getsockopt(fd, SOL_SOCKET, name, &time, &length));
    say("reads %ld s %ld us, length %u", (long)time.tv_sec, (long)time.tv_usec, length);
}

static void say_elapsed(long begin)
{
    long elapsed = milliseconds() - begin;
    say("waited: %s", elapsed < 90 ? "not long enough" : elapsed > 2000 ? "too long" : "yes");
}

static void active(int fd)
{
    char byte;
    static char much[1 << 20];
    set_time(fd, SO_RCVTIMEO, 0, 0);
    set_time(fd, SO_RCVTIMEO, 0, 100000);
    set_time(fd, SO_RCVTIMEO, 0, 1000000);
    set_time(fd, SO_RCVTIMEO, -1, 0);
    set_time(fd, SO_RCVTIMEO, 0, 100000);
    struct timeval time = {0};
    CALL(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time - 1));
    long begin = milliseconds();
    CALL(recv(fd, &byte, 1, 0));
    say_elapsed(begin);
    begin = milliseconds();
    CALL(read(fd, &byte, 1));
    say_elapsed(begin);
    // The other waiting calls do not know the option.
    struct pollfd one = {.fd = fd, .events = POLLIN};
    begin = milliseconds();
    CALL(poll(&one, 1, 100));
    say_elapsed(begin);

    set_time(fd, SO_SNDTIMEO, 0, 100000);
    begin = milliseconds();
    long sent;
    while ((sent = send(fd, much, sizeof much, 0)) == (long)sizeof much)
        begin = milliseconds();
    if (sent < 0)
        begin = 0;
    if (begin)
        say_elapsed(begin);
    while ((sent = send(fd, much, sizeof much, 0)) > 0)
        ;
    say("in the end: %s", error_name(errno));

    int listening = tcp_socket();
    MUST(listen(listening, 1));
    set_time(listening, SO_RCVTIMEO, 0, 100000);
    begin = milliseconds();
    CALL(accept(listening, NULL, NULL));
    say_elapsed(begin);

    int lost = tcp_socket();
    struct sockaddr_in nobody = nobody_at(80);
    set_time(lost, SO_SNDTIMEO, 0, 100000);
    begin = milliseconds();
    CALL(connect(lost, SA(nobody), sizeof nobody));
    say_elapsed(begin);
    CALL(connect(lost, SA(nobody), sizeof nobody));
}

static void passive(int fd) { (void)fd; }

EACH_SIDE(active, passive)
