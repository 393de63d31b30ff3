// sendfile: with and without an offset, past the end, many at once, and wrong descriptors.
#include "t.h"

#include <sys/sendfile.h>

enum { SIZE = 1000003 };

static void active(int fd)
{
    char name[] = "/tmp/shunt-sendfile-XXXXXX";
    int file = (int)MUST(mkstemp(name));
    unlink(name);
    char *content = malloc(SIZE);
    pattern(content, SIZE, 0);
    MUST(write(file, content, SIZE));
    free(content);

    MUST(lseek(file, 0, SEEK_SET));
    CALL(sendfile(fd, file, NULL, 1000));
    say("file position %ld", (long)lseek(file, 0, SEEK_CUR));
    off_t offset = 1000;
    CALL(sendfile(fd, file, &offset, 500));
    say("offset %ld, file position %ld", (long)offset, (long)lseek(file, 0, SEEK_CUR));
    while (offset < SIZE)
        MUST(sendfile(fd, file, &offset, SIZE));
    say("offset %ld", (long)offset);
    CALL(sendfile(fd, file, &offset, 1));
    offset = SIZE + 10;
    CALL(sendfile(fd, file, &offset, 1));
    offset = SIZE - 3;
    CALL(sendfile(fd, file, &offset, 100));
    CALL(sendfile(fd, file, NULL, 0));
    offset = -1;
    CALL(sendfile(fd, file, &offset, 10));
    CALL(sendfile(fd, file, (off_t *)8, 10));
    CALL(sendfile(fd, -1, NULL, 10));
    CALL(sendfile(-1, file, NULL, 10));
    int pipes[2];
    MUST(pipe(pipes));
    CALL(sendfile(fd, pipes[0], NULL, 10));
    CALL(sendfile(fd, open("/", O_RDONLY), NULL, 10));
    int write_only = (int)MUST(open("/dev/null", O_WRONLY));
    CALL(sendfile(fd, write_only, NULL, 10));
    CALL(sendfile(file, fd, NULL, 10));
    step("sent");
    CALL(shutdown(fd, SHUT_WR));
    signal(SIGPIPE, SIG_IGN);
    offset = 0;
    CALL(sendfile(fd, file, &offset, 10));
}

static void passive(int fd)
{
    receive_pattern(fd, SIZE, 65536);
    char text[8], right[3];
    pattern(right, 3, SIZE - 3);
    CALL(recv(fd, text, 3, MSG_WAITALL));
    say("end again: %s", memcmp(text, right, 3) == 0 ? "right" : "wrong");
    step("sent");
    CALL(recv(fd, text, sizeof text, 0));
}

EACH_SIDE(active, passive)
