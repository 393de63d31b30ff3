// Sending from bad memory: NULL, unmapped, and a buffer that ends in the middle; what was sent and what the peer got.
#include "t.h"

static void active(int fd)
{
    char *edge = edge_of_memory();
    memset(edge - 4096, 'm', 4096);
    CALL(send(fd, null_pointer, 10, 0));
    CALL(write(fd, null_pointer, 10));
    CALL(send(fd, low_pointer, 10, 0));
    CALL(send(fd, edge, 10, 0));
    struct iovec pieces[3] = {{"good", 4}, {null_pointer, 4}, {"more", 4}};
    struct iovec first_bad[2] = {{null_pointer, 4}, {"good", 4}};
    CALL(writev(fd, first_bad, 2));
    step("nothing yet");
    step("looked");
    CALL(send(fd, edge - 6, 10, 0));
    step("half mapped");
    step("looked");
    CALL(writev(fd, pieces, 3));
    step("bad in the middle");
    step("looked");
    CALL(write(fd, (void *)-4096, 10));
    CALL(write(fd, edge - 100, 1ul << 62));
    CALL(sendto(fd, "x", 1, 0, low_pointer, 16));
    step("last");
    step("looked");
    CALL(send(fd, "end", 3, 0));
}

static void look(int fd)
{
    char text[5000];
    settle();
    GOT(recv(fd, text, sizeof text, MSG_DONTWAIT), text);
    step("looked");
}

static void passive(int fd)
{
    step("nothing yet");
    look(fd);
    step("half mapped");
    look(fd);
    step("bad in the middle");
    look(fd);
    step("last");
    look(fd);
    char text[8];
    GOT(recv(fd, text, 3, MSG_WAITALL), text);
}

EACH_SIDE(active, passive)
