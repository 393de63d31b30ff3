// Several threads blocked in accept on one listener, each serving what it takes; all of them get their quit.
#include "t.h"

enum { THREADS = 3, CONNECTIONS = 30 };
static int listening;

static void *serve(void *unused)
{
    (void)unused;
    for (;;) {
        int fd = accept_one(listening);
        char text[4];
        receive_all(fd, text, 4);
        send_all(fd, text, 4);
        close(fd);
        if (memcmp(text, "quit", 4) == 0)
            return NULL;
    }
}

void server(void)
{
    pthread_t threads[THREADS];
    listening = listener(0, 64);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, serve, NULL);
    settle();
    step("serving");
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    say("all threads came back");
}

void client(void)
{
    step("serving");
    int right = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
        int fd = connect_to(0);
        char text[8], back[4];
        snprintf(text, sizeof text, "%04d", i);
        send_all(fd, text, 4);
        receive_all(fd, back, 4);
        right += memcmp(text, back, 4) == 0;
        close(fd);
    }
    say("served %d", right);
    for (int i = 0; i < THREADS; i++) {
        int fd = connect_to(0);
        char back[4];
        send_all(fd, "quit", 4);
        receive_all(fd, back, 4);
        close(fd);
    }
}
