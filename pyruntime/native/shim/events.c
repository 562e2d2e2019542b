/* Events that containerd has not confirmed: a server that is killed has told them to nobody. */
#define _GNU_SOURCE
#include "shim.h"
#include <stdlib.h>
#include <string.h>

struct event {
	struct event *next;
	uint64_t number;
	size_t length;
	unsigned char data[];
};
static struct event *first, **last = &first;

void keep_event(uint64_t number, const void *data, size_t length)
{
	struct event *event = malloc(sizeof *event + length);
	if (!event)
		return; /* the server still publishes it */
	*event = (struct event){.number = number, .length = length};
	if (length)
		memcpy(event->data, data, length);
	*last = event;
	last = &event->next;
}

void drop_event(uint64_t number)
{
	for (struct event **place = &first; *place; place = &(*place)->next)
		if ((*place)->number == number) {
			struct event *found = *place;
			*place = found->next;
			if (!*place)
				last = place;
			free(found);
			return;
		}
}

void tell_events(void)
{
	for (struct event *event = first; event; event = event->next)
		link_send(EVENT, 0, event->number, event->data, event->length);
}
