/*
 * explain.c - which rule an address meets, and why, in lines for people.
 *
 * Happy path: "192.0.2.7" or "unix:uid=1000" becomes a peer, the rules are asked as for a real one,
 * each rule that is tried leaves a line, the verdict comes last.
 * Failure: an address that is not plain is an error with words; a full buffer or no memory is one
 * too, so that nobody reads half an explanation.
 */
#include "access/rule.h"
#include "log/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ID_MAX 4294967294LL

/* Words around the peer's side of a reason. */
static const struct {
	const char *before, *after;
} reason_table[] = {
    [REASON_ALL] = {"matches everybody", ""},
    [REASON_ADDRESS_MATCHES] = {"address ", " matches"},
    [REASON_NAME_MATCHES] = {"name ", " matches"},
    [REASON_ADDRESS_DIFFERS] = {"address ", " does not match"},
    [REASON_NAME_DIFFERS] = {"neither the address nor the name ", " matches"},
    [REASON_NAME_UNKNOWN] = {"the name is unknown: ", ""},
    [REASON_MATCH_FAILED] = {"cannot tell: ", ""},
    [REASON_INSIDE] = {"address ", " is inside"},
    [REASON_OUTSIDE] = {"address ", " is outside"},
    [REASON_ID_MATCHES] = {"id ", " matches"},
    [REASON_ID_DIFFERS] = {"id ", " does not match"},
    [REASON_ID_UNKNOWN] = {"the id of the peer is unknown", ""},
    [REASON_NOT_UNIX] = {"the peer did not come by a Unix socket", ""},
    [REASON_IS_UNIX] = {"the peer came by a Unix socket", ""},
    [REASON_NAME_OTHER] = {"name ", " does not match"},
    [REASON_NO_LINE] = {"no line is about this peer", ""},
};

void reason_head(const struct reason *reason, char *out, size_t size)
{
	if (!reason->key)
		snprintf(out, size, "%s", "");
	else if (reason->text)
		snprintf(out, size, " %s%s%s", reason->key, *reason->key ? " " : "", reason->text);
	else
		snprintf(out, size, " %s (%zu values)", reason->key, reason->count);
}

static void name_error_words(long long error, char *out, size_t size)
{
	if (error == 0)
		snprintf(out, size, "no name leads back to the address");
	else if (error == -ETIMEDOUT)
		snprintf(out, size, "the look-up took too long");
	else
		snprintf(out, size, "the look-up failed (error %lld)", -error);
}

/* The peer's side as text. */
static void value_words(const struct reason *reason, char *out, size_t size)
{
	switch (reason->kind) {
	case REASON_NAME_UNKNOWN:
		name_error_words(reason->number, out, size);
		break;
	case REASON_MATCH_FAILED:
		pcre2_get_error_message((int)reason->number, (PCRE2_UCHAR *)out, size);
		break;
	case REASON_ID_MATCHES:
	case REASON_ID_DIFFERS:
		snprintf(out, size, "%lld", reason->number);
		break;
	default:
		snprintf(out, size, "%s", reason->value);
		break;
	}
}

void reason_words(const struct reason *reason, char *out, size_t size)
{
	char value[256] = "";

	if (*reason_table[reason->kind].after || reason->kind == REASON_NAME_UNKNOWN ||
	    reason->kind == REASON_MATCH_FAILED)
		value_words(reason, value, sizeof value);
	snprintf(out, size, "%s%s%s", reason_table[reason->kind].before, value,
		 reason_table[reason->kind].after);
}

/* ----------------------------------------------------------------------------- reading a peer */

/* "uid=1000,gid=100", each at most once. */
static int parse_ids(struct access_peer *peer, const char *text)
{
	while (*text) {
		int64_t *id = strncmp(text, "uid=", 4) == 0   ? &peer->uid
			      : strncmp(text, "gid=", 4) == 0 ? &peer->gid
							      : NULL;
		char number[16];
		size_t length;
		long long value;

		if (!id || *id >= 0)
			return -EINVAL;
		text += 4;
		length = strcspn(text, ",");
		if (length >= sizeof number)
			return -EINVAL;
		memcpy(number, text, length);
		number[length] = '\0';
		if (number[0] == '-' || num_parse(number, 0, ID_MAX, &value) < 0)
			return -EINVAL;
		*id = value;
		text += length;
		if (*text == ',' && !*++text)
			return -EINVAL;
	}
	return 0;
}

static int parse_peer(struct access_peer *peer, const char *text, struct err *err)
{
	struct access_net net;
	bool fits;

	*peer = (struct access_peer){.uid = -1, .gid = -1};
	if (strncmp(text, "unix", 4) == 0) {
		peer->family = AF_UNIX;
		fits = !text[4] || (text[4] == ':' && text[5] && parse_ids(peer, text + 5) == 0);
	} else {
		fits = !strchr(text, '/') && access_net_parse(&net, text, NULL) == 0;
		if (fits) {
			peer->family = net.family;
			memcpy(peer->addr, net.addr, sizeof peer->addr);
		}
	}
	if (!fits)
		return err_set(err, -EINVAL,
			       "%.80s: expected an address such as 192.0.2.7, 2001:db8::7, unix or "
			       "unix:uid=1000,gid=100",
			       text);
	return 0;
}

/* ---------------------------------------------------------------------------------- the lines */

struct story {
	struct buf *out;
	char last[RULE_WHERE_BYTES]; /* the rule tried last, which decided if any did */
	int rc;                      /* of the first line that did not fit */
};

static void tell_rule(void *arg, const char *where, bool accept, enum meets meets,
		      const struct reason *reason)
{
	static const char *const answers[] = {
	    [MEETS_NO] = "no",
	    [MEETS_YES] = "yes",
	    [MEETS_DOUBT] = "in doubt",
	};
	struct story *story = arg;
	const char *then = "";
	char head[256], words[320];

	if (meets == MEETS_DOUBT)
		then = accept ? ", which lets nobody in" : ", which a denial takes as yes";
	reason_head(reason, head, sizeof head);
	reason_words(reason, words, sizeof words);
	if (story->rc == 0)
		story->rc = buf_addf(story->out, "%s%s: %s: %s%s\n", where, head, answers[meets],
				     words, then);
	snprintf(story->last, sizeof story->last, "%s", where);
	if (strncmp(where, "rule ", 5) == 0) /* the number is enough the second time */
		story->last[5 + strspn(where + 5, "0123456789")] = '\0';
}

/* The variables that a program would find; one line each, whatever is in them. */
static int tell_env(struct buf *out, const struct value *env)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && env && i < env->count; i++) {
		const char *text = env->items[i]->text;
		size_t size = 4 * strlen(text) + 1; /* of the longest escapes */
		char *plain = malloc(size);

		if (!plain)
			return -ENOMEM;
		log_escape(plain, size, text, strlen(text));
		rc = buf_addf(out, "with %s=%s\n", env->keys[i], plain);
		free(plain);
	}
	return rc;
}

static int tell_verdict(const struct story *story, const struct access_verdict *verdict)
{
	int rc;

	if (verdict->rule == 0)
		return buf_addf(story->out, "%s\n", verdict->why);
	rc = buf_addf(story->out, "%s by %s\n", verdict->allowed ? "allowed" : "denied",
		      story->last);
	return rc == 0 && verdict->allowed ? tell_env(story->out, verdict->env) : rc;
}

int access_explain(const struct access *access, const char *address,
		   const struct access_resolver *resolver, struct buf *out, struct err *err)
{
	struct story story = {.out = out};
	struct access_verdict verdict;
	struct access_peer peer;
	int rc = parse_peer(&peer, address, err);

	if (rc < 0)
		return rc;
	access_decide(access, &peer, resolver, &verdict, tell_rule, &story);
	rc = story.rc < 0 ? story.rc : tell_verdict(&story, &verdict);
	if (rc < 0)
		return err_sys(err, rc, "explain %.80s", address);
	return verdict.allowed;
}
