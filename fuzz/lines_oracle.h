/*
 * lines_oracle.h - what a rules file says about a peer, the slow and plain way: each question goes
 * through the whole text again, in the order in which tcprulescheck looks. It knows nothing of
 * sorting, groups and searching by halves. Used by fuzz_access_lines.c and test_access_lines.c, on
 * texts that lines_parse() has taken.
 */
#ifndef LINES_ORACLE_H
#define LINES_ORACLE_H

#include "access/lines.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define ORACLE_NAMES 4

/* Whom the oracle is asked about. */
struct oracle_peer {
	struct access_peer peer;
	char text[ACCESS_TEXT_MAX];
	const char *names[ORACLE_NAMES]; /* confirmed and clean; NULL: no more */
	bool unknown;                    /* there may be others */
};

/* One address of the file, ranges written out. */
struct oracle_key {
	char text[512];
	int line;
	bool allow;
};

/* Return true to end the walk. */
typedef bool oracle_visit(const struct oracle_key *key, void *arg);

/* 192.0.2.7-9 as three keys; else one. */
static inline bool oracle_expand(struct oracle_key *key, oracle_visit *visit, void *arg)
{
	char whole[512], *dash, *left;
	int from, to, used;

	snprintf(whole, sizeof whole, "%s", key->text);
	dash = strchr(whole, '-');
	if (!dash || *whole == '=')
		return visit(key, arg);
	for (left = dash; left > whole && left[-1] != '.';)
		left--;
	if (sscanf(left, "%d-%d%n", &from, &to, &used) != 2)
		abort();
	for (int n = from; n <= to; n++) {
		snprintf(key->text, sizeof key->text, "%.*s%d%s", (int)(left - whole), whole, n,
			 left + used);
		if (visit(key, arg))
			return true;
	}
	return false;
}

/* Every address of the text, in its order. */
static inline bool oracle_walk(const char *text, oracle_visit *visit, void *arg)
{
	struct oracle_key key = {.line = 0};

	for (const char *end; *text; text = end + 1) {
		const char *allow = strstr(text, ":allow"), *deny = strstr(text, ":deny"), *colon;

		end = strchr(text, '\n');
		key.line++;
		if (*text == '#' || text[strspn(text, " \t")] == '\n')
			continue;
		colon = !allow || (deny && deny < allow) ? deny : allow;
		if (!colon || colon > end)
			abort(); /* not a text that lines_parse() takes */
		key.allow = colon == allow;
		snprintf(key.text, sizeof key.text, "%.*s", (int)(colon - text), text);
		if (oracle_expand(&key, visit, arg))
			return true;
	}
	return false;
}

/* The network of a key: [IPV6]/BITS, CIDR, an address, or a prefix with its dot. Bits; -1: none. */
static inline int oracle_net(const char *text, int *family, uint8_t addr[16])
{
	char plain[512];
	size_t used = 0;
	int bits = -1, dots = 0;

	for (const char *p = text; *p; p++)
		if (*p != '[' && *p != ']')
			plain[used++] = *p;
	plain[used] = '\0';
	memset(addr, 0, 16);
	if (!used || *plain == '=')
		return -1;
	if (plain[used - 1] == '.') {
		for (char *p = plain; *p; p++)
			dots += *p == '.';
		for (int i = dots; i < 4; i++)
			strcat(plain, i < 3 ? "0." : "0");
		bits = 8 * dots;
	} else if (strchr(plain, '/')) {
		bits = atoi(strchr(plain, '/') + 1);
		*strchr(plain, '/') = '\0';
	}
	*family = strchr(plain, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(*family, plain, addr) != 1)
		abort();
	bits = bits >= 0 ? bits : *family == AF_INET ? 32 : 128;
	if (*family == AF_INET6 && memcmp(addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0) {
		*family = AF_INET;
		memmove(addr, addr + 12, 4);
		bits -= 96;
	}
	return bits;
}

/* One question: who is it about, and what was found. */
struct oracle_question {
	const struct oracle_peer *peer;
	int bits;         /* networks of this size; -1: not networks */
	const char *name; /* the key "=NAME"; NULL: not names */
	bool everybody;   /* the empty key */
	struct oracle_key found;
	bool is_found;
};

static inline bool oracle_fits_net(const struct oracle_key *key, const struct oracle_peer *peer,
				   int bits)
{
	uint8_t addr[16];
	int family;

	if (oracle_net(key->text, &family, addr) != bits || family != peer->peer.family)
		return false;
	for (int i = 0; i < bits; i++)
		if ((addr[i / 8] ^ peer->peer.addr[i / 8]) & (0x80 >> i % 8))
			return false;
	return true;
}

static inline bool oracle_same_name(const char *key, const char *name)
{
	size_t length = strlen(key);

	if (length > 1 && key[length - 1] == '.')
		length--;
	return strlen(name) == length && strncasecmp(key, name, length) == 0;
}

static inline bool oracle_fits(const struct oracle_key *key, void *arg)
{
	struct oracle_question *question = arg;
	bool fits;

	if (question->everybody)
		fits = !*key->text;
	else if (question->name)
		fits = *key->text == '=' && oracle_same_name(key->text + 1, question->name);
	else
		fits = oracle_fits_net(key, question->peer, question->bits);
	if (fits) {
		question->found = *key;
		question->is_found = true;
	}
	return fits;
}

/* Of a kind of names (0: whole ones, 1: suffixes, 2: "="): is there a key that counts and denies?
 */
struct oracle_denial {
	const char *text;
	int kind;
	int line; /* 0: none */
};

static inline bool oracle_denies(const struct oracle_key *key, void *arg)
{
	struct oracle_denial *denial = arg;
	struct oracle_question same = {.bits = -1};
	char name[512];
	int kind = !key->text[0] || !key->text[1] ? 2 : key->text[1] == '.' ? 1 : 0;
	size_t length;

	if (*key->text != '=' || kind != denial->kind || key->allow)
		return false;
	snprintf(name, sizeof name, "%s", key->text + 1);
	length = strlen(name);
	if (length > 1 && name[length - 1] == '.')
		name[length - 1] = '\0';
	same.name = name;
	oracle_walk(denial->text, oracle_fits,
		    &same); /* the first of its kind is the one that counts */
	if (same.found.line == key->line)
		denial->line = key->line;
	return denial->line > 0;
}

/* Answer: the line, 0: none; doubt tells that only a missing name made it one. */
struct oracle_answer {
	int line;
	bool allow, doubt;
};

static inline void oracle_ask(const char *text, struct oracle_question *question,
			      struct oracle_answer *answer)
{
	question->is_found = false;
	oracle_walk(text, oracle_fits, question);
	if (question->is_found) {
		answer->line = question->found.line;
		answer->allow = question->found.allow;
	}
}

/* The keys that a name may have in one of the kinds, the longest first. */
static inline void oracle_ask_name(const char *text, const struct oracle_peer *peer, int kind,
				   struct oracle_answer *answer)
{
	struct oracle_question question = {.peer = peer, .bits = -1};
	struct oracle_denial denial = {.text = text, .kind = kind};
	const char *name = peer->names[0];

	if (name && kind == 0) {
		question.name = name;
		oracle_ask(text, &question, answer);
	}
	for (const char *p = name; p && kind == 1 && !answer->line; p = *p ? p + 1 : NULL)
		if (*p == '.') {
			question.name = p;
			oracle_ask(text, &question, answer);
		}
	if (name && kind == 2) {
		question.name = "";
		oracle_ask(text, &question, answer);
	}
	if (!peer->unknown || (answer->line && !answer->allow))
		return;
	oracle_walk(text, oracle_denies, &denial);
	if (denial.line > 0)
		*answer = (struct oracle_answer){.line = denial.line, .doubt = true};
}

/* For a peer with at most one name. */
static inline struct oracle_answer oracle_decide(const char *text, const struct oracle_peer *peer)
{
	struct oracle_answer answer = {0};
	struct oracle_question question = {.peer = peer, .name = NULL};
	int width = peer->peer.family == AF_INET ? 32 : 128;

	if (peer->peer.family != AF_UNIX) {
		question.bits = width;
		oracle_ask(text, &question, &answer);
		if (!answer.line)
			oracle_ask_name(text, peer, 0, &answer);
		for (question.bits = width - 1; !answer.line && question.bits >= 0; question.bits--)
			oracle_ask(text, &question, &answer);
		for (int kind = 1; kind <= 2 && !answer.line; kind++)
			oracle_ask_name(text, peer, kind, &answer);
	}
	question.everybody = true;
	if (!answer.line)
		oracle_ask(text, &question, &answer);
	return answer;
}

#endif
