// Threads that each own a connection and ping at the same time: none starves, none hears another's bytes.
#include "t.h"

enum { THREADS = 8, ROUNDS = 300 };
static int sockets[THREADS];

static void *ping(void *argument)
{
    uint32_t id = (uint32_t)(intptr_t)argument;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t out[4] = {id, i, ~id, ~i}, in[4];
        send_all(sockets[id], out, sizeof out);
        receive_all(sockets[id], in, sizeof in);
        if (memcmp(out, in, sizeof in) != 0)
            die("thread %u, round %u: another answer", id, i);
    }
    return NULL;
}

static void *pong(void *argument)
{
    char text[16];
    for (int i = 0; i < ROUNDS; i++) {
        receive_all(sockets[(intptr_t)argument], text, sizeof text);
        send_all(sockets[(intptr_t)argument], text, sizeof text);
    }
    return NULL;
}

static void run(void *(*body)(void *))
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        sockets[i] = connected();
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, body, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        close(sockets[i]);
    say("all rounds done");
}

void server(void) { run(pong); }
void client(void) { run(ping); }
