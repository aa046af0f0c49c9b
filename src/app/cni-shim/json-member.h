/*
 * Reads one member of a JSON object without understanding the rest. Whether the JSON is well formed is for the agent to
 * say: this finds what it can in any bytes and never looks beyond their end.
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
 * Where the value of `key` begins in the object that `json` is; of several the last, as JSON.parse has it. NULL when
 * there is none, or no object.
 */
static const char *member(const char *json, const char *json_end, const char *key)
{
	const char *found = NULL;
	int depth = 0;

	if (json == NULL)
		return NULL;
	for (const char *at = skip_space(json, json_end); at < json_end; at++) {
		if (*at == '{' || *at == '[')
			depth++;
		else if (*at == '}' || *at == ']')
			depth--;
		if (depth == 0)
			break;
		if (*at != '"')
			continue;
		const char *name = at + 1;
		at = string_end(name, json_end);
		size_t name_length = (size_t)(at - name);
		const char *colon = skip_space(at + (at < json_end), json_end);
		if (depth != 1 || colon >= json_end || *colon != ':')
			continue;
		const char *value = skip_space(colon + 1, json_end);
		if (value < json_end && name_length == strlen(key) && memcmp(name, key, name_length) == 0)
			found = value;
		at = value < json_end && *value == '"' ? string_end(value + 1, json_end) : colon;
	}
	return found;
}

/* The string that a value is, escapes and all, and its end. NULL when it is none. */
static const char *string_of(const char *value, const char *json_end, const char **end)
{
	if (value == NULL || *value != '"')
		return NULL;
	*end = string_end(value + 1, json_end);
	return value + 1;
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
