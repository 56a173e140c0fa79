/* The process that holds a pod's namespaces open. It reaps nothing: it is nobody's parent. */
#include <signal.h>
#include <unistd.h>

static void end(int signal) {
    (void)signal;
    _exit(0);
}

int main(void) {
    struct sigaction action = {.sa_handler = end};
    /* As process 1 of its namespace it gets only those signals that it handles. */
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    for (;;)
        pause();
}
