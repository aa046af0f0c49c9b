/*
 * Reads one string of the top level of a JSON object without understanding the rest. Whether the JSON is well formed is
 * for the agent to say: this finds what it can in any bytes and never looks beyond their end.
 */
#include <stddef.h>
#include <string.h>

/* The closing quote of the string whose first character is at `at`; `end` when there is none. */
static const char *string_end(const char *at, const char *end)
{
	while (at < end && *at != '"')
		at += *at == '\\' && at + 1 < end ? 2 : 1;
	return at < end ? at : end;
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
		at++;
	return at;
}

/*
 * The string that is the value of `key`, escapes and all, and its end; of several the last, as JSON.parse has it. NULL
 * when there is none.
 */
static const char *top_level_string(const char *json, const char *json_end, const char *key, const char **end)
{
	const char *found = NULL;
	int depth = 0;

	for (const char *at = json; at < json_end; at++) {
		if (*at == '{' || *at == '[')
			depth++;
		else if (*at == '}' || *at == ']')
			depth--;
		if (*at != '"')
			continue;
		const char *name = at + 1;
		at = string_end(name, json_end);
		size_t name_length = (size_t)(at - name);
		const char *colon = skip_space(at + (at < json_end), json_end);
		if (depth != 1 || colon >= json_end || *colon != ':')
			continue;
		at = colon;
		const char *value = skip_space(colon + 1, json_end);
		if (value >= json_end || *value != '"')
			continue;
		at = string_end(value + 1, json_end);
		if (name_length == strlen(key) && memcmp(name, key, name_length) == 0) {
			found = value + 1;
			*end = at;
		}
	}
	return found;
}

/*
 * Copies a string without its escapes; only those of one character are known. -1 for one that is too long, has another
 * escape, or a NUL.
 */
static int copy_unescaped(char *to, size_t size, const char *from, const char *end)
{
	size_t length = 0;

	for (; from < end; from++) {
		if (*from == '\\') {
			from++;
			if (from >= end || (*from != '/' && *from != '"' && *from != '\\'))
				return -1;
		}
		if (*from == '\0' || length + 1 >= size)
			return -1;
		to[length++] = *from;
	}
	to[length] = '\0';
	return 0;
}
