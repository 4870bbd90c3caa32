/* embed.c: an interpreter in a C program.
 *
 *     embed PYTHON TIMES WHERE CODE [LATER]
 *
 * Initialises the interpreter that PYTHON is, runs CODE, finalises it, and all of that TIMES times; WHERE is "main", or "thread":
 * in a thread that is not the process's first, a new one each time. The status is 1 if CODE failed, 2 if finalising did.
 * With LATER a thread initialises the interpreter, runs CODE, and ends; then LATER is run, and nothing is finalised. */
#include <Python.h>

#include <pthread.h>
#include <unistd.h>

static char **arg;
static int status;

static void fail(PyStatus s) {
    if (PyStatus_Exception(s)) Py_ExitStatusException(s);
}

static void begin(void) {
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    fail(PyConfig_SetBytesString(&config, &config.program_name, arg[1]));
    fail(Py_InitializeFromConfig(&config));
    PyConfig_Clear(&config);
    if (PyRun_SimpleString(arg[4])) status = 1;
}

static void *once(void *unused) {
    (void)unused;
    begin();
    if (Py_FinalizeEx()) status = 2;
    return NULL;
}

static void *begin_and_leave(void *unused) {
    (void)unused;
    begin();
    PyEval_SaveThread();
    return NULL;
}

static int without_main(const char *later) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, begin_and_leave, NULL)) return 3;
    pthread_join(thread, NULL);
    PyGILState_Ensure();
    if (PyRun_SimpleString(later)) status = 1;
    _exit(status);
}

int main(int argc, char **argv) {
    if (argc != 5 && argc != 6) return 3;
    arg = argv;
    if (argc == 6) return without_main(argv[5]);
    for (int i = atoi(argv[2]); i > 0 && !status; i--) {
        pthread_t thread;
        if (argv[3][0] == 'm') {
            once(NULL);
        } else {
            if (pthread_create(&thread, NULL, once, NULL)) return 3;
            pthread_join(thread, NULL);
        }
    }
    return status;
}
