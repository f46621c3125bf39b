/* chat_text.h - what may go to other people's terminals. */
#ifndef CHAT_TEXT_H
#define CHAT_TEXT_H

#include <stddef.h>

/* Control characters, whatever turns or breaks lines, and what is no UTF-8 become question marks, a
 * tab a blank. The length stays. */
void text_clean(char *text, size_t n);

#endif
