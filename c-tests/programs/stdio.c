// A socket as a FILE: fdopen, fprintf, fgets, fread, dprintf, and their ends.
#include "t.h"

static void active(int fd)
{
    FILE *file = fdopen(fd, "r+");
    if (!file)
        die("fdopen: %s", error_name(errno));
    CALL(fprintf(file, "GET /%d HTTP/1.0\r\n", 42));
    CALL(fflush(file));
    CALL(dprintf(fd, "Host: x\r\n\r\n"));
    char line[64];
    while (fgets(line, sizeof line, file))
        say_bytes("line", line, (long)strlen(line));
    say("end %d, error %d", !!feof(file), !!ferror(file));
    CALL(fclose(file));
}

static void passive(int fd)
{
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    char line[64];
    for (int i = 0; i < 3 && fgets(line, sizeof line, in); i++)
        say_bytes("line", line, (long)strlen(line));
    for (int i = 0; i < 5; i++)
        fprintf(out, "line %d\n", i);
    CALL(fputs("no newline", out) >= 0);
    CALL(fclose(out));
    CALL(shutdown(fd, SHUT_WR));
    say("end: %d", fgetc(in));
    CALL(fclose(in));
}

EACH_SIDE(active, passive)
