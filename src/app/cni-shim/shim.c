/*
 * weft-cni and weft-ipam: the executable that a container runtime starts for each CNI call. It decides nothing: it hands
 * environment and stdin to the agent's unix socket, prints the answer, and exits 0 or 1. VERSION it answers itself.
 * Started with arguments it is the plugin of netavark, which speaks by them: then it hands over arguments and stdin, and
 * answers `info` itself.
 *
 * A call carries an id of its own and is sent again with the same one when the agent restarts, so that the agent carries
 * it out once; who waits longer is the runtime. It also says by which name it was called, and by whom. shim.ts is the
 * same program for machines without a C compiler; one table of behaviours (shim.test.ts) runs against both. All memory is
 * static; every copy and every wait has a bound; nothing here is allocated.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "json-member.h"

/* CNI_CALL_MAX_BYTES of model/limits.ts. */
#define CALL_MAX (1 << 20)
#define HEAD_MAX 512
/* An answer repeats what earlier plugins of the chain made, so it may be longer than the call. */
#define ANSWER_MAX (1 << 21)
/* A call that finds no agent is sent again for this long, this often. Then the runtime is told, within a second. */
#define RETRY_MS 700
#define RETRY_PAUSE_MS 50
/* The longest that a runtime may take to hand over its configuration. */
#define STDIN_TIMEOUT_MS 5000
/* The longest that an agent that is there may leave a call untaken; and may think about it (it may wait for others). */
#define CONNECT_TIMEOUT_MS 5000
#define ANSWER_TIMEOUT_MS 75000
/* Everything together; what is left to wait for then is a runtime that does not read the answer. */
#define LIFETIME_S 120

#define DEFAULT_SOCKET "/run/weft/agent.sock"
#define IPAM_PLUGIN "weft-ipam"
#define WEFT_VERSION "0.2.0"
#define NETAVARK_API_VERSION "1.0.0"
#define NEWEST_VERSION "1.1.0"
#define SUPPORTED_VERSIONS "[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]"

/* Codes of the CNI specification. */
enum { CODE_ENVIRONMENT = 4, CODE_IO = 5, CODE_CONFIG = 7, CODE_TRY_AGAIN = 11 };

extern char **environ;

/* What differs between those who call. */
struct protocol {
	const char *name;
	const char *path;
	const char *request_id;
	/* What to do about an agent that does not answer, and about a call that is too long. */
	const char *name_socket;
	const char *shorten;
};
static const struct protocol cni = {
	"CNI", "/v1/cni", "CNI_WEFT_REQUEST_ID", "weft_socket in the network configuration",
	"its environment or its configuration",
};
static const struct protocol netavark = {
	"netavark", "/v1/netavark", "REQUEST_ID", "-o weft.socket=PATH when the network is created",
	"what the container is given",
};
static const struct protocol *protocol = &cni;

/* One byte more than may be used: whoever fills it learns that the call is too long. */
static char call[HEAD_MAX + CALL_MAX + 1];
static size_t call_length;
static const char *config = "";
static char answer[ANSWER_MAX + 1];
static size_t answer_length;
static char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)] = DEFAULT_SOCKET;
static char version[17] = NEWEST_VERSION;

/* ---- answers of our own ------------------------------------------------------------------------------------------ */

static void write_all(const char *text, size_t length)
{
	while (length > 0) {
		struct pollfd waiting = {.fd = STDOUT_FILENO, .events = POLLOUT};
		ssize_t written = write(STDOUT_FILENO, text, length);
		if (written < 0 && errno == EAGAIN)
			poll(&waiting, 1, -1); /* ends with our lifetime */
		if (written < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (written <= 0)
			_exit(1);
		text += written;
		length -= (size_t)written;
	}
}

/* Appends text as far as there is room, with a NUL. No printf: it is four fifths of a program of this size. */
static void add(char *to, size_t size, const char *text)
{
	size_t length = strlen(to);
	while (*text != '\0' && length + 1 < size)
		to[length++] = *text++;
	to[length] = '\0';
}

static const char *decimal(unsigned long long number)
{
	static char text[24];
	char *digit = text + sizeof text - 1;
	do
		*--digit = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	return digit;
}

/*
 * Prints an error, of CNI or of netavark, whose message is all the strings up to NULL. Quotes, backslashes and control
 * characters, which only a path could bring, become '?'.
 */
__attribute__((noreturn, sentinel)) static void fail(int code, const char *first, ...)
{
	char message[512] = "";
	char json[sizeof message + 128] = "{";
	va_list parts;

	va_start(parts, first);
	for (const char *part = first; part != NULL; part = va_arg(parts, const char *))
		add(message, sizeof message, part);
	va_end(parts);
	for (char *c = message; *c != '\0'; c++)
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			*c = '?';
	if (protocol == &cni) {
		add(json, sizeof json, "\"cniVersion\":\"");
		add(json, sizeof json, version);
		add(json, sizeof json, "\",\"code\":");
		add(json, sizeof json, decimal((unsigned long long)code));
		add(json, sizeof json, ",\"msg\":\"");
	} else
		add(json, sizeof json, "\"error\":\"");
	add(json, sizeof json, message);
	add(json, sizeof json, "\"}\n");
	write_all(json, strlen(json));
	exit(1);
}

__attribute__((noreturn)) static void fail_too_long(void)
{
	fail(CODE_IO, "the ", protocol->name, " call has more than ", decimal(CALL_MAX), " bytes; shorten ",
	     protocol->shorten, NULL);
}

static long long now_ms(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (long long)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* ---- the configuration ------------------------------------------------------------------------------------------- */

static void take_socket(int code, const char *name, const char *from, const char *end)
{
	if (copy_unescaped(socket_path, sizeof socket_path, from, end) != 0 || socket_path[0] != '/')
		fail(code, name, " is no path of a unix socket: it must begin with '/' and have at most ",
		     decimal(sizeof socket_path - 1), " bytes", NULL);
}

static void read_config(void)
{
	const char *config_end = call + call_length;
	char text[sizeof version];
	const char *end;

	const char *asked = string_of(member(config, config_end, "cniVersion"), config_end, &end);
	/* Only digits and dots: what is echoed needs no escapes. */
	if (asked != NULL && copy_unescaped(text, sizeof text, asked, end) == 0 && text[0] != '\0' &&
	    strspn(text, "0123456789.") == strlen(text))
		memcpy(version, text, sizeof text);
	const char *path = string_of(member(config, config_end, "weft_socket"), config_end, &end);
	if (path != NULL)
		take_socket(CODE_CONFIG, "weft_socket", path, end);
}

/* In the network of `setup` and `teardown`, and in what is to be one of `create`. */
static void read_network_options(void)
{
	const char *config_end = call + call_length;
	const char *end;
	const char *network = member(config, config_end, "network");

	const char *options = member(network != NULL ? network : config, config_end, "options");
	const char *path = string_of(member(options, config_end, "weft.socket"), config_end, &end);
	if (path != NULL)
		take_socket(CODE_CONFIG, "the option weft.socket", path, end);
}

/* ---- the call ---------------------------------------------------------------------------------------------------- */

static void append(const char *bytes, size_t length)
{
	if (length > sizeof call - 1 - call_length)
		fail_too_long();
	memcpy(call + call_length, bytes, length);
	call_length += length;
}

/* Adds the line NAME=VALUE to the variables of the call. */
static void append_variable(const char *name, const char *value)
{
	append(name, strlen(name));
	append("=", 1);
	append(value, strlen(value) + 1); /* with its NUL */
}

/* An id that no other call has, so that the agent knows this one when it comes again. */
static void append_request_id(void)
{
	unsigned char random[16];
	char hex[2 * sizeof random + 1] = "";

	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		fail(CODE_IO, "no random numbers: ", strerror(errno), NULL);
	for (size_t i = 0; i < sizeof random; i++) {
		hex[2 * i] = "0123456789abcdef"[random[i] >> 4];
		hex[2 * i + 1] = "0123456789abcdef"[random[i] & 15];
	}
	append_variable(protocol->request_id, hex);
}

/* The beginning of /proc/PID/FILE as text; empty when it cannot be read. */
static void read_proc(char *text, size_t size, long pid, const char *file)
{
	char path[64] = "/proc/";

	add(path, sizeof path, decimal((unsigned long long)pid));
	add(path, sizeof path, file);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);
	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = '\0';
}

/* The parent's parent; 0 when it is not known. In /proc/PID/stat it comes third behind the name's closing bracket. */
static long grandparent(void)
{
	char stat[512];

	read_proc(stat, sizeof stat, getppid(), "/stat");
	const char *bracket = strrchr(stat, ')');
	return bracket != NULL && strlen(bracket) > 4 ? atol(bracket + 4) : 0;
}

/* By which name we were called, and by whom: an IPAM plugin is called by another plugin, which the runtime called. */
static void append_caller(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');
	const char *plugin = slash == NULL ? argv0 : slash + 1;
	char runtime[64];

	append_variable("CNI_WEFT_PLUGIN", plugin);
	if (getenv("CNI_WEFT_RUNTIME") != NULL)
		return;
	read_proc(runtime, sizeof runtime, strcmp(plugin, IPAM_PLUGIN) == 0 ? grandparent() : getppid(), "/comm");
	runtime[strcspn(runtime, "\n")] = '\0';
	append_variable("CNI_WEFT_RUNTIME", runtime);
}

static void read_stdin(void)
{
	long long deadline = now_ms() + STDIN_TIMEOUT_MS;

	for (;;) {
		struct pollfd waiting = {.fd = STDIN_FILENO, .events = POLLIN};
		long long left = deadline - now_ms();
		int ready = poll(&waiting, 1, left > 0 ? (int)left : 0);
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready == 0)
			fail(CODE_IO, "the configuration on stdin did not end within ", decimal(STDIN_TIMEOUT_MS / 1000),
			     " seconds; its writer must close it", NULL);
		ssize_t got = read(STDIN_FILENO, call + call_length, sizeof call - call_length);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got < 0)
			fail(CODE_IO, "the configuration on stdin cannot be read: ", strerror(errno), NULL);
		if (got == 0)
			break;
		call_length += (size_t)got;
		if (call_length >= sizeof call)
			fail_too_long();
	}
}

/* The frame of model/call-frame.ts, behind the room for the request's head: the variables first. */
static void begin_call(void)
{
	call_length = HEAD_MAX;
	append_request_id(); /* the first line of a variable counts */
}

/* Then stdin. */
static void end_call(void)
{
	append("", 1);
	config = call + call_length;
	read_stdin();
}

static void read_cni_call(const char *argv0)
{
	begin_call();
	append_caller(argv0);
	for (char **entry = environ; *entry != NULL; entry++)
		if (strncmp(*entry, "CNI_", 4) == 0)
			append(*entry, strlen(*entry) + 1);
	end_call();
	read_config();
}

static void read_netavark_call(char **arguments)
{
	begin_call();
	append_variable("COMMAND", arguments[0]);
	if (arguments[1] != NULL)
		append_variable("NETNS", arguments[1]);
	end_call();
	read_network_options();
}

/* ---- the socket -------------------------------------------------------------------------------------------------- */

static int connect_agent(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = CONNECT_TIMEOUT_MS / 1000};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail(CODE_IO, "no socket: ", strerror(errno), NULL);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* of connect, too */
	memcpy(address.sun_path, socket_path, sizeof address.sun_path);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	int problem = errno;
	close(fd);
	errno = problem;
	return -1;
}

static int send_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return -1;
		bytes += sent;
		length -= (size_t)sent;
	}
	return 0;
}

/* The value of a header, or NULL. `head_end` is the empty line. */
static const char *header(const char *name, const char *head_end)
{
	for (const char *line = strstr(answer, "\r\n"); line != NULL && line < head_end; line = strstr(line + 2, "\r\n"))
		if (strncasecmp(line + 2, name, strlen(name)) == 0)
			return line + 2 + strlen(name);
	return NULL;
}

/* Whether all that the answer announces is there: the end of the connection needs not be waited for. */
static int is_whole(void)
{
	const char *head_end = strstr(answer, "\r\n\r\n");
	const char *length = head_end == NULL ? NULL : header("content-length:", head_end);

	return length != NULL && strtoull(length, NULL, 10) <= (size_t)(answer + answer_length - (head_end + 4));
}

/* Reads until the answer is whole, or the other side closes. -1 when it broke. */
static int read_answer(int fd, long long deadline)
{
	answer_length = 0;
	for (;;) {
		struct pollfd waiting = {.fd = fd, .events = POLLIN};
		long long left = deadline - now_ms();
		int ready = poll(&waiting, 1, left > 0 ? (int)left : 0);
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		ssize_t got = read(fd, answer + answer_length, ANSWER_MAX - answer_length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		answer_length += (size_t)got;
		answer[answer_length] = '\0';
		if (got == 0 || answer_length == ANSWER_MAX || is_whole())
			return 0;
	}
}

/* The status of a whole HTTP answer, and where its body is; -1 when it is cut off or none. */
static int parse_answer(const char **body, size_t *body_length)
{
	static const char http[] = "HTTP/1.";
	const char *head_end = strstr(answer, "\r\n\r\n");

	errno = EPROTO;
	if (head_end == NULL || strncmp(answer, http, sizeof http - 1) != 0)
		return -1;
	int status = atoi(answer + sizeof http); /* behind "HTTP/1.x" */
	*body = head_end + 4;
	*body_length = (size_t)(answer + answer_length - *body);
	const char *length = header("content-length:", head_end);
	if (length == NULL)
		return status;
	if (strtoull(length, NULL, 10) > *body_length)
		return -1;
	*body_length = (size_t)strtoull(length, NULL, 10);
	return status;
}

/* One try. The HTTP status, or -1 with errno. */
static int try_once(const char *request, size_t length, const char **body, size_t *body_length)
{
	int fd = connect_agent();
	if (fd < 0)
		return -1;
	int status = -1;
	if (send_all(fd, request, length) == 0 && read_answer(fd, now_ms() + ANSWER_TIMEOUT_MS) == 0)
		status = parse_answer(body, body_length);
	int problem = errno;
	close(fd);
	errno = problem;
	return status;
}

/* HTTP 1.0, so that the answer comes in one piece. The head is put right before the call. */
static const char *finish_request(size_t *length)
{
	char head[HEAD_MAX] = "POST ";
	add(head, sizeof head, protocol->path);
	add(head, sizeof head, " HTTP/1.0\r\nHost: weft\r\nConnection: close\r\n"
			       "Content-Type: application/octet-stream\r\nContent-Length: ");
	add(head, sizeof head, decimal(call_length - HEAD_MAX));
	add(head, sizeof head, "\r\n\r\n");
	char *request = call + HEAD_MAX - strlen(head);
	memcpy(request, head, strlen(head));
	*length = strlen(head) + call_length - HEAD_MAX;
	return request;
}

/* What another try cannot change. */
static int is_final(int problem)
{
	return problem == EACCES || problem == EPERM || problem == ETIMEDOUT || problem == EAGAIN;
}

__attribute__((noreturn)) static void exchange(int may_wait)
{
	size_t length, body_length = 0;
	const char *body = NULL;
	const char *request = finish_request(&length);
	long long deadline = 0;

	for (;;) {
		int status = try_once(request, length, &body, &body_length);
		int problem = errno;
		if (deadline == 0)
			deadline = now_ms() + RETRY_MS;
		int is_over = now_ms() >= deadline;
		if (status == 503 && may_wait && !is_over) /* it has just started */
			status = -1;
		else if (status < 0 && (is_over || is_final(problem)))
			fail(CODE_TRY_AGAIN, "the weft agent does not answer on ", socket_path, " (", strerror(problem),
			     "); start it (weft agent), or name its socket by ", protocol->name_socket, NULL);
		if (status >= 0 && status != 200 && (body_length == 0 || body[0] != '{'))
			fail(CODE_IO, socket_path, " answered HTTP status ", decimal((unsigned long long)status),
			     "; is it the socket of a weft agent?", NULL);
		if (status >= 0) {
			write_all(body, body_length);
			exit(status == 200 ? 0 : 1);
		}
		poll(NULL, 0, RETRY_PAUSE_MS);
	}
}

__attribute__((noreturn)) static void serve_netavark(char **arguments)
{
	if (strcmp(arguments[0], "info") == 0) {
		static const char info[] = "{\"version\":\"" WEFT_VERSION "\",\"api_version\":\"" NETAVARK_API_VERSION "\"}\n";
		write_all(info, sizeof info - 1);
		exit(0);
	}
	read_netavark_call(arguments);
	exchange(1);
}

static void serve_cni(const char *argv0)
{
	const char *command = getenv("CNI_COMMAND");

	if (command == NULL)
		fail(CODE_ENVIRONMENT, "CNI_COMMAND is missing: a CNI plugin is started by a container runtime", NULL);
	read_cni_call(argv0);
	if (strcmp(command, "VERSION") != 0)
		exchange(strcmp(command, "STATUS") != 0);
	char json[256] = "{\"cniVersion\":\"";
	add(json, sizeof json, version);
	add(json, sizeof json, "\",\"supportedVersions\":" SUPPORTED_VERSIONS "}\n");
	write_all(json, strlen(json));
}

int main(int argc, char **argv)
{
	const char *path = getenv("WEFT_SOCKET");

	signal(SIGALRM, SIG_DFL);
	alarm(LIFETIME_S);
	if (argc > 1)
		protocol = &netavark;
	if (path != NULL)
		take_socket(CODE_ENVIRONMENT, "WEFT_SOCKET", path, path + strlen(path));
	if (argc > 1)
		serve_netavark(argv + 1);
	serve_cni(argc > 0 ? argv[0] : "");
	return 0;
}
