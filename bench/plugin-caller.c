/*
 * Starts CNI plugins for a benchmark and says how long each took. A small process that forks nothing but them: starting
 * a program from Node costs a millisecond, and now and then four, which would be most of what is measured.
 *
 * Each line of stdin is one call, its fields divided by tabs: the program, what it gets on stdin, and its environment.
 * Each line of stdout is its outcome: microseconds from before it was started until it was gone and all it had printed
 * was read, its exit status, and what it printed (newlines and tabs as spaces).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FIELDS_MAX 64
#define OUTPUT_MAX (1 << 16)

static char output[OUTPUT_MAX + 1];

static void check(const char *what, int failed)
{
	if (!failed)
		return;
	perror(what);
	exit(2);
}

static long long now_us(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (long long)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* Reads until the other end is closed; what does not fit is lost. */
static void read_output(int fd)
{
	size_t length = 0;
	char spill[4096];
	for (;;) {
		int is_full = length == OUTPUT_MAX;
		ssize_t got = read(fd, is_full ? spill : output + length, is_full ? sizeof spill : OUTPUT_MAX - length);
		if (got < 0 && errno == EINTR)
			continue;
		check("read", got < 0);
		if (got == 0)
			break;
		if (!is_full)
			length += (size_t)got;
	}
	output[length] = '\0';
	for (char *c = output; *c != '\0'; c++)
		if (*c == '\n' || *c == '\t')
			*c = ' ';
}

/* A plugin's configuration fits a pipe, so nothing waits for anything here. */
static int call(char *program, const char *input, char **environment)
{
	int in[2], out[2], status;
	pid_t child;
	char *arguments[] = {program, NULL};
	posix_spawn_file_actions_t actions;

	check("pipe", pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0);
	check("actions", posix_spawn_file_actions_init(&actions) != 0 ||
	      posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO) != 0 ||
	      posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO) != 0);
	errno = posix_spawn(&child, program, &actions, NULL, arguments, environment);
	check(program, errno != 0);
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	close(out[1]);
	check("write", write(in[1], input, strlen(input)) != (ssize_t)strlen(input) && errno != EPIPE);
	close(in[1]);
	read_output(out[0]);
	close(out[0]);
	while (waitpid(child, &status, 0) < 0)
		check("waitpid", errno != EINTR);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;
	signal(SIGPIPE, SIG_IGN);
	for (ssize_t length; (length = getline(&line, &size, stdin)) > 0;) {
		char *fields[FIELDS_MAX + 1] = {NULL};
		char *rest = line;
		line[length - 1] = '\0';
		for (int count = 0; rest != NULL && count < FIELDS_MAX; count++)
			fields[count] = strsep(&rest, "\t");
		if (fields[1] == NULL)
			return 2;
		long long start = now_us();
		int status = call(fields[0], fields[1], fields + 2);
		long long end = now_us();
		printf("%lld\t%d\t%s\n", end - start, status, output);
		fflush(stdout);
	}
	return 0;
}
