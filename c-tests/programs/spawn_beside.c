// Starting other programs beside a connection (system, popen, posix_spawn, vfork) leaves it as it was.
#include "t.h"

#include <spawn.h>

static void active(int fd)
{
    char text[16];
    MUST(fcntl(fd, F_SETFD, FD_CLOEXEC));
    CALL(system("exit 3") >> 8);
    CALL(write(fd, "1", 1));
    FILE *pipe = popen("echo out of a pipe", "r");
    if (!pipe || !fgets(text, sizeof text, pipe))
        die("popen");
    say("%.13s", text);
    CALL(pclose(pipe));
    CALL(write(fd, "2", 1));
    pid_t child;
    char *arguments[] = {"sh", "-c", "exit 5", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, fd);
    CALL(posix_spawn(&child, "/bin/sh", &actions, NULL, arguments, environ));
    reap("spawned", child);
    CALL(write(fd, "3", 1));
    child = vfork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
        _exit(1);
    }
    reap("vforked", child);
    child = vfork();
    if (child == 0)
        _exit(9);
    reap("vforked", child);
    CALL(write(fd, "4", 1));
    GOT(recv(fd, text, 4, MSG_WAITALL), text);
}

static void passive(int fd)
{
    char text[8];
    GOT(recv(fd, text, 4, MSG_WAITALL), text);
    CALL(write(fd, "back", 4));
}

EACH_SIDE(active, passive)
